"""What a training step reads: latents and token ids by row number, wherever they are kept."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import numpy as np
import torch

from edgestep.artifact import BadInput

Tokenize = Callable[[Sequence[str]], torch.Tensor]
"""Texts -> int64 [B, T], padded and truncated to T."""


class LatentData(ABC):
    """Rows of (latent, token ids) on disk, read by number; latents are already multiplied by the latent scale.

    `latent_shape` is (C, h, w), `prompt_tokens` the T of the token ids. `tokenizer_sha256` is the hash of the
    tokenizer that made them and `latent_scale` what the latents were multiplied with: "" and None where the data
    does not tell.
    """

    latent_shape: tuple[int, int, int]
    prompt_tokens: int
    tokenizer_sha256: str = ""
    latent_scale: float | None = None

    @abstractmethod
    def __len__(self) -> int:
        """Number of rows."""

    @abstractmethod
    def take(self, index: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return (latents float32 [B, C, h, w], input_ids int64 [B, T]) of rows `index` int64 [B], on the CPU.

        Any order, a row may come twice. Raises IndexError where a row is not there.
        """

    @abstractmethod
    def texts(self, index: torch.Tensor) -> list[str]:
        """Return the prompts of rows `index`."""

    def _rows(self, index: torch.Tensor) -> torch.Tensor:
        if index.ndim != 1 or (len(index) and not (int(index.min()) >= 0 and int(index.max()) < len(self))):
            raise IndexError(f"rows {tuple(index.shape)} leave 0 .. {len(self) - 1}, or are no list")
        return index.to("cpu", torch.int64)

    def _check_finite(self, latents: np.ndarray, rows: Sequence[int]) -> None:
        """Raise BadInput where a row that others wrote is not finite: one NaN would end the training."""
        fine = np.isfinite(latents).reshape(len(latents), -1).all(1) if len(latents) else np.array([True])
        if not fine.all():
            row = rows[int(np.argmin(fine))]
            raise BadInput(f"got a latent that is not finite in row {row}; expected finite ones; leave it out")


def check_data(
    data: LatentData,
    *,
    latent_shape: tuple[int, int, int],
    prompt_tokens: int,
    tokenizer_sha256: str = "",
    latent_scale: float | None = None,
) -> None:
    """Raise BadInput where `data` was not made for a teacher of that latent shape, prompt length, tokenizer and scale.

    What either side does not tell is not compared.
    """
    told = [
        ("latents of shape", data.latent_shape, latent_shape),
        ("prompts of length", data.prompt_tokens, prompt_tokens),
        ("the tokenizer", data.tokenizer_sha256, tokenizer_sha256),
        ("the latent scale", data.latent_scale, latent_scale),
    ]
    for what, got, expected in told:
        if got != expected and got not in {"", None} and expected not in {"", None}:
            raise BadInput(
                f"got data with {what} {got}; expected {expected}, the teacher's; precompute the data with this teacher"
            )
