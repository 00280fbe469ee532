"""A checkpoint's tokenizer folder -> its tokenizer.json and the ids of its special tokens."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from edgestep.artifact import BadInput
from edgestep.export.source.clip_tokenizer import clip_tokenizer_json
from edgestep.export.source.json_files import read_json

PIECES = ("spiece.model", "tokenizer.model")
"""What T5 and Gemma are published with: a sentencepiece model."""
FAST = {"CLIPTokenizer": "CLIPTokenizerFast", "T5Tokenizer": "T5TokenizerFast", "GemmaTokenizer": "GemmaTokenizerFast"}


@dataclass(frozen=True)
class SpecialTokens:
    """Ids that open a prompt, end it, and fill it up: 49406, 49407 and 49407 in Stable Diffusion 1.5; -1 for none."""

    bos: int
    eos: int
    pad: int


def tokenizer_json(folder: Path) -> bytes:
    """Return the tokenizer as one tokenizer.json: the checkpoint's own, else made from what it was published with.

    The device reads only this file; Stable Diffusion 1.5 was published with vocab.json and merges.txt, PixArt with
    spiece.model. Only the latter needs transformers; raises BadInput without it, or where those are missing too.
    """
    path = folder / "tokenizer.json"
    if path.is_file():
        return path.read_bytes()
    sources = [folder / name for name in ("vocab.json", "merges.txt", *PIECES) if (folder / name).is_file()]
    names = {source.name for source in sources}
    if not ({"vocab.json", "merges.txt"} <= names or names & set(PIECES)):
        raise BadInput(
            f"got no tokenizer.json, no vocab.json with merges.txt and no {PIECES[0]} in {folder}; expected one of "
            "them; download it again"
        )
    return _made(folder.resolve(), _kind(folder, names), tuple(source.stat().st_mtime_ns for source in sources))


def _kind(folder: Path, names: set[str]) -> str:
    path = folder / "tokenizer_config.json"
    named = str(read_json(path).get("tokenizer_class", "")) if path.is_file() else ""
    named = named.removesuffix("Fast")
    if named in FAST:
        return FAST[named]
    return "T5TokenizerFast" if "spiece.model" in names else FAST["CLIPTokenizer"]


@lru_cache(maxsize=16)
def _made(folder: Path, kind: str, _changed: tuple[int, ...]) -> bytes:
    if kind == FAST["CLIPTokenizer"]:
        return clip_tokenizer_json(folder, _named(folder, _json(folder / "tokenizer_config.json")))
    try:
        import transformers
    except ImportError as error:
        raise BadInput(f"got no tokenizer.json in {folder}; making one needs pip install 'edgestep[export]'") from error
    verbosity = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity_error()  # that it is converted is what was asked for
    try:
        tokenizer = getattr(transformers, kind).from_pretrained(folder, local_files_only=True)
    except (ImportError, OSError, ValueError, TypeError, RuntimeError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise BadInput(
            f"got a tokenizer in {folder} that {kind} cannot read ({reason}); expected the files that it was published "
            "with; download it again, or pip install sentencepiece protobuf"
        ) from error
    finally:
        transformers.logging.set_verbosity(verbosity)
    return tokenizer.backend_tokenizer.to_str(pretty=True).encode()


def token_count(folder: Path, text: str) -> int:
    """Return how many tokens a text has, special ones among them."""
    return _token_count(tokenizer_json(folder), text)


@lru_cache(maxsize=16)
def _token_count(content: bytes, text: str) -> int:
    from tokenizers import Tokenizer

    return len(Tokenizer.from_str(content.decode()).encode(text).ids)


def special_token_ids(folder: Path, config: Mapping[str, Any]) -> SpecialTokens:
    """Return the special tokens' ids. They come from the tokenizer: the text encoder's config often has wrong ones.

    Raises BadInput for a token without an id. T5 names no bos: it is -1.
    """
    named = _named(folder, config)
    ids = _ids(folder, config)
    is_clip = "<|endoftext|>" in ids
    found = {}
    for role, fallback in (("bos", "<|startoftext|>"), ("eos", "<|endoftext|>"), ("pad", "<|endoftext|>")):
        token = named.get(f"{role}_token") or (fallback if is_clip else None)
        text = token["content"] if isinstance(token, Mapping) else token
        if text is not None and text not in ids:
            raise BadInput(f"got {role} token {text!r}, which {folder} has no id for; download the checkpoint again")
        found[role] = -1 if text is None else int(ids[text])
    return SpecialTokens(**found)


def _named(folder: Path, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return role -> token, text or an entry with `content`; the config goes before special_tokens_map.json."""
    said = {k: v for k, v in config.items() if k.endswith("_token") and v is not None}
    return {**_json(folder / "special_tokens_map.json"), **said}


def _ids(folder: Path, config: Mapping[str, Any]) -> dict[str, int]:
    """Return token -> id, of vocab.json, else of tokenizer.json; with the tokens that were added to it."""
    ids = _json(folder / "vocab.json") or _ids_of_json(tokenizer_json(folder))
    added = config.get("added_tokens_decoder", {})
    return {**ids, **{entry["content"]: int(number) for number, entry in added.items()}}


@lru_cache(maxsize=4)
def _ids_of_json(raw: bytes) -> dict[str, int]:
    try:
        content = json.loads(raw)
    except ValueError as error:
        raise BadInput(
            f"got a broken tokenizer.json ({error}); expected JSON; download the checkpoint again"
        ) from error
    vocabulary = content.get("model", {}).get("vocab", {})
    if isinstance(vocabulary, list):  # of a unigram model: [piece, score], in the order of the ids
        vocabulary = {piece: i for i, (piece, _) in enumerate(vocabulary)}
    return {**vocabulary, **{entry["content"]: int(entry["id"]) for entry in content.get("added_tokens", [])}}


def bpe_file(name: str, raw: bytes) -> str:
    """Return vocab.json or merges.txt of a tokenizer.json, for clients that read those.

    Raises BadInput for a tokenizer of another kind than byte-pair encoding.
    """
    model = json.loads(raw).get("model", {})
    if "merges" not in model:
        raise BadInput(f"got a tokenizer without merges; expected byte-pair encoding, as CLIP's, for {name}")
    if name == "vocab.json":
        return json.dumps(_ids_of_json(raw), ensure_ascii=False)
    pairs = (pair if isinstance(pair, str) else " ".join(pair) for pair in model["merges"])
    return "\n".join(["#version: 0.2", *pairs]) + "\n"


def _json(path: Path) -> dict[str, Any]:
    return read_json(path) if path.is_file() else {}
