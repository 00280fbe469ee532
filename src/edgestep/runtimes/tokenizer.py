"""Prompt -> input_ids, with the tokenizer file of the artifact alone: no transformers on the device."""

from pathlib import Path

import numpy as np

from edgestep.artifact import BadInput, OneStep, sha256_of_file


def ids_from_prompt(folder: Path, contract: OneStep, prompt: str) -> np.ndarray:
    """Return int64 [1, prompt_tokens], padded with the contract's pad token.

    `folder` holds tokenizer/tokenizer.json, whose hash must be the contract's. Raises BadInput where it is missing or
    another one, and where the prompt is empty or has more tokens than fit: nothing is cut off silently.
    """
    from tokenizers import Tokenizer

    path = folder / "tokenizer" / "tokenizer.json"
    if not path.is_file():
        raise BadInput(f"got no {path}; expected the artifact's tokenizer; export the artifact again")
    if sha256_of_file(path) != contract.tokenizer_sha256:
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
    return _padded(_encode(tokenizer, prompt), contract, prompt)


def _encode(tokenizer, prompt: str) -> list[int]:
    try:
        prompt.encode()
    except UnicodeEncodeError as error:
        raise BadInput(
            f"got a prompt that is not valid text ({error.reason}); expected UTF-8; type it again"
        ) from error
    return tokenizer.encode(prompt).ids


def _padded(ids: list[int], contract: OneStep, prompt: str) -> np.ndarray:
    if not set(ids) - {contract.bos_token_id, contract.eos_token_id}:
        raise BadInput(f"got the empty prompt {prompt!r}; expected words; say what to draw")
    if len(ids) > contract.prompt_tokens:
        raise BadInput(
            f"got a prompt of {len(ids)} tokens; expected at most {contract.prompt_tokens}, start and end "
            "included; shorten it"
        )
    padded = np.full((1, contract.prompt_tokens), contract.pad_token_id, np.int64)
    padded[0, : len(ids)] = ids
    return padded
