"""A checkpoint's tokenizer folder -> its tokenizer.json and the ids of its special tokens."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgestep.artifact import BadInput


@dataclass(frozen=True)
class SpecialTokens:
    """Ids that open a prompt, end it, and fill it up: 49406, 49407 and 49407 in Stable Diffusion 1.5."""

    bos: int
    eos: int
    pad: int


def tokenizer_json(folder: Path) -> bytes:
    """Return the tokenizer as one tokenizer.json: the checkpoint's own, else made from vocab.json and merges.txt.

    The device reads only this file; Stable Diffusion 1.5 was published without it. Making one needs transformers;
    raises BadInput without it, or where the two files are missing too.
    """
    path = folder / "tokenizer.json"
    if path.is_file():
        return path.read_bytes()
    vocabulary, merges = folder / "vocab.json", folder / "merges.txt"
    if not (vocabulary.is_file() and merges.is_file()):
        raise BadInput(f"got neither tokenizer.json nor vocab.json and merges.txt in {folder}; download it again")
    try:
        from transformers import CLIPTokenizerFast
    except ImportError as error:
        raise BadInput(f"got no tokenizer.json in {folder}; making one needs pip install 'edgestep[export]'") from error
    tokenizer = CLIPTokenizerFast.from_pretrained(folder)
    return tokenizer.backend_tokenizer.to_str(pretty=True).encode()


def special_token_ids(folder: Path, config: Mapping[str, Any]) -> SpecialTokens:
    """Return the special tokens' ids. They come from the tokenizer: the text encoder's config often has wrong ones."""
    named = {**_json(folder / "special_tokens_map.json"), **{k: v for k, v in config.items() if k.endswith("_token")}}
    ids = _ids(folder, config)
    found = {}
    for role, fallback in (("bos", "<|startoftext|>"), ("eos", "<|endoftext|>"), ("pad", "<|endoftext|>")):
        token = named.get(f"{role}_token") or fallback
        text = token["content"] if isinstance(token, Mapping) else str(token)
        if text not in ids:
            raise BadInput(f"got {role} token {text!r}, which {folder} has no id for; download the checkpoint again")
        found[role] = int(ids[text])
    return SpecialTokens(**found)


def _ids(folder: Path, config: Mapping[str, Any]) -> dict[str, int]:
    ids = _json(folder / "vocab.json")
    if not ids:
        ids = _json(folder / "tokenizer.json").get("model", {}).get("vocab", {})
    added = config.get("added_tokens_decoder", {})
    return {**ids, **{entry["content"]: int(number) for number, entry in added.items()}}


def _json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise BadInput(f"got a broken {path} ({error}); expected JSON; download the checkpoint again") from error
