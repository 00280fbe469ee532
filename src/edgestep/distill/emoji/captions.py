"""captions.json -> what a training step conditions on: styled, unstyled or null prompts as token ids."""

import json
from dataclasses import dataclass
from pathlib import Path

import torch

from edgestep.distill.emoji.recipe import EmojiRecipe

STYLED = (
    "{style} {concept}",
    "{style} emoji of a {concept}",
    "{concept} in {style} style",
    "a {style} drawing of {concept}",
    "{concept}, {style}",
)
UNSTYLED = ("{concept}", "a {concept}", "{concept} emoji", "a picture of the {concept}", "a drawing of {concept}")
"""The first wording of each is the plain one, drawn more often than the others together."""

HELD_OUT_STYLED = (
    "a {concept} emoji in {style} style",
    "the {style} picture of a {concept}",
    "{concept} drawing, {style}",
)
HELD_OUT_UNSTYLED = ("the {concept}", "an emoji of {concept}", "drawing of a {concept} emoji")
"""Never trained on: words that training has seen, put together in another way."""

PLAIN = 0.6


@dataclass(frozen=True)
class Captions:
    """`styled` [N, S] and `unstyled` [N, U] are caption indices per picture and wording; `ids` is int64 [C, T].

    `null` is the empty prompt's index.
    """

    texts: tuple[str, ...]
    ids: torch.Tensor
    styled: torch.Tensor
    unstyled: torch.Tensor
    null: int = 0

    def draw(self, pictures: torch.Tensor, unstyled: float, null: float, generator: torch.Generator) -> torch.Tensor:
        """Return a caption index for each picture index: the null prompt, an unstyled or a styled one, at these rates.

        A wording's first form is drawn with a chance of 0.6, the others share the rest.
        """
        count = len(pictures)
        chance, plain = torch.rand(2, count, generator=generator)
        chosen = torch.where(
            chance < null + unstyled,
            _pick(self.unstyled[pictures], plain, generator),
            _pick(self.styled[pictures], plain, generator),
        )
        return torch.where(chance < null, torch.full_like(chosen, self.null), chosen)


def _pick(wordings: torch.Tensor, plain: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    other = torch.randint(1, wordings.shape[1], (len(wordings), 1), generator=generator)
    return torch.where(plain < PLAIN, wordings[:, 0], wordings.gather(1, other)[:, 0])


def read_rows(work: Path) -> list[tuple[str, str]]:
    """Return (concept, style) of every picture."""
    return [(concept, style) for concept, style in json.loads((work / "captions.json").read_text())["rows"]]


def read_texts(work: Path) -> tuple[list[str], list[list[int]], list[list[int]]]:
    """Return (every caption once, the empty one first; styled indices per picture; unstyled indices per picture)."""
    wordings = [(_texts(STYLED, *row), _texts(UNSTYLED, *row)) for row in read_rows(work)]
    texts = ["", *dict.fromkeys(text for styled, unstyled in wordings for text in (*styled, *unstyled))]
    place = {text: i for i, text in enumerate(texts)}
    styled = [[place[text] for text in both[0]] for both in wordings]
    return texts, styled, [[place[text] for text in both[1]] for both in wordings]


def _texts(templates: tuple[str, ...], concept: str, style: str) -> list[str]:
    return [template.format(concept=concept, style=style) for template in templates]


def read_captions(work: Path, tokenizer, recipe: EmojiRecipe) -> Captions:
    """Tokenize every caption of `work`/captions.json, padded to `recipe.prompt_tokens`."""
    texts, styled, unstyled = read_texts(work)
    ids = tokenizer(
        texts, padding="max_length", truncation=True, max_length=recipe.prompt_tokens, return_tensors="pt"
    ).input_ids
    return Captions(tuple(texts), ids, torch.tensor(styled), torch.tensor(unstyled))


def held_out_wordings(work: Path) -> list[tuple[str, str]]:
    """Return (prompt, concept) in wordings that training never saw, every concept in a styled and an unstyled one."""
    prompts = []
    for i, (concept, style) in enumerate(read_rows(work)):
        prompts.append((HELD_OUT_STYLED[i % len(HELD_OUT_STYLED)].format(concept=concept, style=style), concept))
        prompts.append((HELD_OUT_UNSTYLED[i % len(HELD_OUT_UNSTYLED)].format(concept=concept), concept))
    return list(dict.fromkeys(prompts))


def training_wordings(work: Path) -> list[tuple[str, str]]:
    """Return (prompt, concept): every styled plain wording, and every unstyled one once."""
    rows = read_rows(work)
    styled = [(STYLED[0].format(concept=concept, style=style), concept) for concept, style in rows]
    return [*styled, *dict.fromkeys((concept, concept) for concept, _ in rows)]
