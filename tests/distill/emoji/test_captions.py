"""Captions: how often which wording is drawn, and wordings that training never sees."""

import json
from pathlib import Path

import pytest
import torch

from edgestep.distill.emoji.captions import (
    HELD_OUT_STYLED,
    HELD_OUT_UNSTYLED,
    PLAIN,
    STYLED,
    UNSTYLED,
    Captions,
    held_out_wordings,
    read_captions,
    read_texts,
    training_wordings,
)
from edgestep.distill.emoji.recipe import EmojiRecipe
from edgestep.distill.emoji.tokenizer import train_tokenizer

CONCEPTS, STYLES = ("red heart", "pizza"), ("noto", "twemoji")
RECIPE = EmojiRecipe(prompt_tokens=24, vocabulary=540)


@pytest.fixture
def work(tmp_path: Path) -> Path:
    rows = [[concept, style] for concept in CONCEPTS for style in STYLES]
    (tmp_path / "captions.json").write_text(json.dumps({"concepts": CONCEPTS, "styles": STYLES, "rows": rows}))
    return tmp_path


@pytest.fixture
def captions(work: Path) -> Captions:
    return read_captions(work, train_tokenizer(read_texts(work)[0], RECIPE), RECIPE)


@pytest.mark.parametrize(("unstyled", "null"), [(0.25, 0.1), (0.6, 0.0), (0.0, 0.3)])
def test_null_unstyled_and_plain_prompts_have_their_rates(captions: Captions, unstyled: float, null: float):
    pictures = torch.arange(4).repeat(10_000)
    drawn = captions.draw(pictures, unstyled, null, torch.Generator().manual_seed(0))
    own = (captions.styled[pictures] == drawn[:, None]).any(1) | (captions.unstyled[pictures] == drawn[:, None]).any(1)
    is_null = drawn == captions.null
    assert bool((own | is_null).all())  # never another picture's

    def share(chosen: torch.Tensor) -> float:
        return float(chosen.float().mean())

    assert share(is_null) == pytest.approx(null, abs=0.01)
    assert share(torch.isin(drawn, captions.unstyled)) == pytest.approx(unstyled, abs=0.01)
    for wordings, rate in ((captions.styled, 1 - unstyled - null), (captions.unstyled, unstyled)):
        assert share(torch.isin(drawn, wordings[:, 0])) == pytest.approx(PLAIN * rate, abs=0.01)
        for k in range(1, wordings.shape[1]):
            rest = (1 - PLAIN) * rate / (wordings.shape[1] - 1)
            assert share(torch.isin(drawn, wordings[:, k])) == pytest.approx(rest, abs=0.01)


def test_the_texts_are_the_wordings_and_the_empty_one_is_the_null_prompt(captions: Captions):
    assert captions.texts[captions.null] == ""
    assert [captions.texts[i] for i in captions.styled[:2, 0]] == ["noto red heart", "twemoji red heart"]
    assert [captions.texts[i] for i in captions.styled[3]] == [
        text.format(style="twemoji", concept="pizza") for text in STYLED
    ]
    assert [captions.texts[i] for i in captions.unstyled[3]] == [text.format(concept="pizza") for text in UNSTYLED]
    assert len(set(captions.texts)) == len(captions.texts) == len(captions.ids)
    assert captions.ids.shape[1] == 24


def test_held_out_wordings_are_never_among_the_training_ones(work: Path, captions: Captions):
    held_out = held_out_wordings(work)
    prompts = [prompt for prompt, _ in held_out]
    assert not set(prompts) & set(captions.texts)
    assert not set(HELD_OUT_STYLED + HELD_OUT_UNSTYLED) & set(STYLED + UNSTYLED)
    assert len(set(prompts)) == len(prompts)
    for concept in CONCEPTS:
        mine = [prompt for prompt, of in held_out if of == concept]
        assert all(concept in prompt for prompt in mine)
        assert {any(style in prompt for style in STYLES) for prompt in mine} == {True, False}
    words = {word for text in captions.texts for word in text.replace(",", "").split()}
    assert {word for prompt in prompts for word in prompt.replace(",", "").split()} <= words | {"an"}


def test_training_wordings_are_plain_ones_that_training_draws(work: Path, captions: Captions):
    found = training_wordings(work)
    assert found == [
        ("noto red heart", "red heart"), ("twemoji red heart", "red heart"), ("noto pizza", "pizza"),
        ("twemoji pizza", "pizza"), ("red heart", "red heart"), ("pizza", "pizza"),
    ]  # fmt: skip
    assert {prompt for prompt, _ in found} <= set(captions.texts)
