"""Captions -> ids, and the hash that names a tokenizer."""

import json
import shutil
from pathlib import Path

import pytest
from transformers import CLIPTokenizer, CLIPTokenizerFast

from edgestep.artifact import BadInput
from edgestep.distill.data.tokenizing import count_longer, open_tokenizer, sha256_of_tokenizer, tokenize_with


def test_ids_are_padded_and_cut(tiny: Path):
    tokenizer = open_tokenizer(tiny / "tokenizer")
    texts = ["a red heart", "cat face " * 9, ""]
    ids = tokenize_with(tokenizer, 6)(texts)
    assert ids.shape == (3, 6)
    assert (ids[:, 0] == tokenizer.bos_token_id).all()
    assert tokenizer.decode(ids[0], skip_special_tokens=True) == "a red heart"
    assert ids[1, -1] == tokenizer.eos_token_id
    assert (ids[2, 1:] == tokenizer.pad_token_id).all()
    assert tokenize_with(tokenizer, 6)([]).shape == (0, 6)
    assert [count_longer(tokenizer, texts, length) for length in (1, 4, 5, 19, 20)] == [3, 2, 1, 1, 0]


def test_the_hash_names_what_the_tokenizer_does(tiny: Path, tmp_path: Path):
    folder = tmp_path / "tokenizer"
    shutil.copytree(tiny / "tokenizer", folder)
    fast = sha256_of_tokenizer(open_tokenizer(folder))
    assert sha256_of_tokenizer(CLIPTokenizerFast.from_pretrained(folder)) == fast
    assert sha256_of_tokenizer(CLIPTokenizer.from_pretrained(folder)) == fast
    vocabulary = json.loads((folder / "vocab.json").read_text())
    names = list(vocabulary)
    vocabulary[names[0]], vocabulary[names[1]] = vocabulary[names[1]], vocabulary[names[0]]
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    assert sha256_of_tokenizer(CLIPTokenizer.from_pretrained(folder)) != fast


def test_a_folder_without_one_is_told(tmp_path: Path):
    with pytest.raises(BadInput, match="no tokenizer in"):
        open_tokenizer(tmp_path)
