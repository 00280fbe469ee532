"""A teacher's tokenizer -> token ids of captions, the count of those that it cut, and a hash that names it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from edgestep.artifact import BadInput, sha256_of_json
from edgestep.distill.data.latent_data import Tokenize

PROBE = "A photograph of 3 cafés at night, l'été -- naïve!"


def open_tokenizer(folder: Path) -> Any:
    """Load the tokenizer of a checkpoint from its folder; raise BadInput where there is none."""
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadInput(
            f"got no tokenizer in {folder} ({_line(error)}); expected the teacher's; give a diffusers folder"
        ) from error


def tokenize_with(tokenizer: Any, length: int) -> Tokenize:
    """Return texts -> int64 [B, length], padded, and cut where longer."""

    def tokenize(texts: Sequence[str]) -> torch.Tensor:
        if not texts:
            return torch.empty(0, length, dtype=torch.int64)
        return tokenizer(
            list(texts), padding="max_length", truncation=True, max_length=length, return_tensors="pt"
        ).input_ids

    return tokenize


def count_longer(tokenizer: Any, texts: Sequence[str], length: int) -> int:
    """Return how many of `texts` have more than `length` tokens, special ones counted."""
    if not texts:
        return 0
    return sum(len(ids) > length for ids in tokenizer(list(texts), verbose=False).input_ids)


def sha256_of_tokenizer(tokenizer: Any) -> str:
    """Return a hash of what the tokenizer does: its vocabulary, special tokens, and the ids of a probing text.

    The slow and the fast tokenizer of one checkpoint have the same.
    """
    special = [tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id]
    probed = list(tokenizer(PROBE, verbose=False).input_ids)
    return sha256_of_json([sorted(tokenizer.get_vocab().items()), special, probed])


def _line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
