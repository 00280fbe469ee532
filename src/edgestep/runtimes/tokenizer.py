"""Prompt -> token ids and mask, with the tokenizer files of the artifact alone: no transformers on the device."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgestep.artifact import BadInput, OneStep, inside, sha256_of_file


@dataclass(frozen=True)
class _Padding:
    """What ids are padded to, and with what."""

    folder: str
    prompt_tokens: int
    specials: frozenset[int]
    pad_token_id: int
    sha256: str


def inputs_from_prompt(folder: Path, contract: OneStep, prompt: str) -> dict[str, np.ndarray]:
    """Return what `Drawer.draw` takes of a prompt, int64 [1, T] by name, padded as the contract says.

    `input_ids`; `input_ids_2` of the second tokenizer (sdxl); `attention_mask` (pixart, sana), whose prompts are
    written in lower case, after the contract's prefix. Raises BadInput as `ids_from_prompt`.
    """
    masked = contract.base in ("pixart", "sana")
    if masked and not prompt.strip():
        raise BadInput(f"got the empty prompt {prompt!r}; expected words; say what to draw")
    text = contract.prompt_prefix + prompt.lower().strip() if masked else prompt
    ids = _ids(folder, _first(contract), text)
    found = {"input_ids": _padded(ids, _first(contract))}
    if masked:
        mask = np.zeros((1, contract.prompt_tokens), np.int64)
        mask[0, : len(ids)] = 1
        found["attention_mask"] = mask
    for tokens in contract.more_tokenizers:
        specials = frozenset({tokens.bos_token_id, tokens.eos_token_id})
        other = _Padding(tokens.folder, tokens.prompt_tokens, specials, tokens.pad_token_id, tokens.tokenizer_sha256)
        found[tokens.input] = _padded(_ids(folder, other, text), other)
    return found


def ids_from_prompt(folder: Path, contract: OneStep, prompt: str) -> np.ndarray:
    """Return the first tokenizer's ids, int64 [1, prompt_tokens], padded with the contract's pad token.

    `folder` holds tokenizer/tokenizer.json, whose hash must be the contract's. Raises BadInput where it is missing or
    another one, and where the prompt is empty or has more tokens than fit: nothing is cut off silently.
    """
    return inputs_from_prompt(folder, contract, prompt)["input_ids"]


def _first(contract: OneStep) -> _Padding:
    specials = frozenset({contract.bos_token_id, contract.eos_token_id})
    sha256 = contract.tokenizer_sha256
    return _Padding("tokenizer", contract.prompt_tokens, specials, contract.pad_token_id, sha256)


def _ids(folder: Path, tokens: _Padding, text: str) -> list[int]:
    """Return the ids with start and end, not padded."""
    from tokenizers import Tokenizer

    path = inside(folder, tokens.folder) / "tokenizer.json"
    if not path.is_file():
        raise BadInput(f"got no {path}; expected the artifact's tokenizer; export the artifact again")
    if sha256_of_file(path) != tokens.sha256:
        raise BadInput(
            f"got another {path} than the contract lists; expected its own; copy or export the artifact again"
        )
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the package raises bare Exception
        raise BadInput(
            f"got a broken {path} ({error}); expected a tokenizer.json; export the artifact again"
        ) from error
    tokenizer.no_truncation()  # a published tokenizer.json may cut and pad by itself
    tokenizer.no_padding()
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise BadInput(
            f"got a prompt that is not valid text ({error.reason}); expected UTF-8; type it again"
        ) from error
    ids = tokenizer.encode(text).ids
    if not set(ids) - tokens.specials:
        raise BadInput(f"got the empty prompt {text!r}; expected words; say what to draw")
    if len(ids) > tokens.prompt_tokens:
        raise BadInput(
            f"got a prompt of {len(ids)} tokens; expected at most {tokens.prompt_tokens}, start and end "
            "included; shorten it"
        )
    return ids


def _padded(ids: list[int], tokens: _Padding) -> np.ndarray:
    padded = np.full((1, tokens.prompt_tokens), tokens.pad_token_id, np.int64)
    padded[0, : len(ids)] = ids
    return padded
