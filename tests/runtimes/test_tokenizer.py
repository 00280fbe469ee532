"""input_ids against transformers' own CLIPTokenizer."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgestep.artifact import BadInput, OneStep, sha256_of_file
from edgestep.runtimes.tokenizer import ids_from_prompt
from tests.runtimes.handmade import contract

PLAIN = ["red heart", "  A GRINNING   face!! ", "don't"]
PROMPTS = [*PLAIN, "café 3", "🍎", "cat's <|endoftext|> face", "日本"]


def contract_of(folder: Path) -> OneStep:
    from transformers import CLIPTokenizerFast

    tokenizer = CLIPTokenizerFast.from_pretrained(folder / "tokenizer")
    return replace(
        contract(sha256_of_file(folder / "tokenizer" / "tokenizer.json"), tokenizer.model_max_length),
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


@pytest.mark.parametrize("prompt", PROMPTS)
@pytest.mark.parametrize("checkpoint", ["emoji", "tiny"])
def test_same_ids_as_transformers(request, checkpoint, prompt):
    """The slow class splits and normalises text beyond ASCII in its own way: compared on plain prompts only."""
    from transformers import CLIPTokenizer, CLIPTokenizerFast

    folder = request.getfixturevalue(checkpoint)
    ids = ids_from_prompt(folder, contract_of(folder), prompt)
    assert ids.dtype == np.int64
    for kind in (CLIPTokenizer, CLIPTokenizerFast) if prompt in PLAIN else (CLIPTokenizerFast,):
        tokenizer = kind.from_pretrained(folder / "tokenizer")
        expected = tokenizer(prompt, padding="max_length", max_length=tokenizer.model_max_length).input_ids
        assert ids.tolist() == [expected]


@pytest.mark.parametrize("prompt", ["", " \t\n ", "<|endoftext|>"])
def test_refuses_an_empty_prompt(emoji, prompt):
    with pytest.raises(BadInput, match="empty prompt"):
        ids_from_prompt(emoji, contract_of(emoji), prompt)


def test_refuses_rather_than_cuts_a_long_prompt(emoji):
    fitting = " ".join(["1"] * 30)
    ids = ids_from_prompt(emoji, contract_of(emoji), fitting)
    assert ids.shape == (1, 32)
    with pytest.raises(BadInput, match="got a prompt of 33 tokens; expected at most 32"):
        ids_from_prompt(emoji, contract_of(emoji), fitting + " 1")


def test_cuts_and_pads_by_the_contract_whatever_the_file_says(emoji, tmp_path):
    from tokenizers import Tokenizer

    (tmp_path / "tokenizer").mkdir()
    path = tmp_path / "tokenizer" / "tokenizer.json"
    tokenizer = Tokenizer.from_file(str(emoji / "tokenizer" / "tokenizer.json"))
    tokenizer.enable_truncation(4)
    tokenizer.enable_padding(length=77, pad_id=0)
    tokenizer.save(str(path))
    expected = ids_from_prompt(emoji, contract_of(emoji), "one two three four five")
    changed = replace(contract_of(emoji), tokenizer_sha256=sha256_of_file(path))
    np.testing.assert_array_equal(ids_from_prompt(tmp_path, changed, "one two three four five"), expected)


def test_refuses_another_tokenizer(emoji, tmp_path):
    with pytest.raises(BadInput, match=r"no .*tokenizer\.json"):
        ids_from_prompt(tmp_path, contract_of(emoji), "cat")
    shutil.copytree(emoji / "tokenizer", tmp_path / "tokenizer")
    path = tmp_path / "tokenizer" / "tokenizer.json"
    path.write_text(path.read_text() + "\n")
    with pytest.raises(BadInput, match="another"):
        ids_from_prompt(tmp_path, contract_of(emoji), "cat")
    path.write_text("{}")
    with pytest.raises(BadInput, match="broken"):
        ids_from_prompt(tmp_path, replace(contract_of(emoji), tokenizer_sha256=sha256_of_file(path)), "cat")


def test_refuses_a_prompt_that_is_not_text(emoji):
    with pytest.raises(BadInput, match="not valid text"):
        ids_from_prompt(emoji, contract_of(emoji), "cat \udcff")
