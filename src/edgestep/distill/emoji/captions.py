"""captions.json -> what a training step conditions on: styled, unstyled or null prompts as token ids."""

import json
from dataclasses import dataclass
from pathlib import Path

import torch

from edgestep.distill.recipe import EmojiRecipe


@dataclass(frozen=True)
class Captions:
    """`styled` and `unstyled` are caption indices per picture; `null` is the empty prompt's; `ids` is int64 [C, T]."""

    texts: tuple[str, ...]
    ids: torch.Tensor
    styled: torch.Tensor
    unstyled: torch.Tensor
    null: int

    def draw(self, pictures: torch.Tensor, recipe: EmojiRecipe, generator: torch.Generator) -> torch.Tensor:
        """Return a caption index for each picture index: null, unstyled or styled, at the recipe's rates."""
        chance = torch.rand(len(pictures), generator=generator)
        plain = recipe.null_text + recipe.unstyled_text
        chosen = torch.where(chance < plain, self.unstyled[pictures], self.styled[pictures])
        return torch.where(chance < recipe.null_text, torch.full_like(chosen, self.null), chosen)


def read_texts(work: Path) -> tuple[list[str], list[int], list[int]]:
    """Return (every caption once, the empty one first; styled index per picture; unstyled index per picture)."""
    rows = json.loads((work / "captions.json").read_text())["rows"]
    texts = ["", *dict.fromkeys(text for concept, style in rows for text in (f"{style} {concept}", concept))]
    place = {text: i for i, text in enumerate(texts)}
    return texts, [place[f"{style} {concept}"] for concept, style in rows], [place[concept] for concept, _ in rows]


def read_captions(work: Path, tokenizer, recipe: EmojiRecipe) -> Captions:
    """Tokenize every caption of `work`/captions.json, padded to `recipe.prompt_tokens`."""
    texts, styled, unstyled = read_texts(work)
    ids = tokenizer(texts, padding="max_length", max_length=recipe.prompt_tokens, return_tensors="pt").input_ids
    return Captions(tuple(texts), ids, torch.tensor(styled), torch.tensor(unstyled), 0)
