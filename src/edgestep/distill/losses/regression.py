"""The regression loss on the teacher's deterministic pairs (DMD, eq. 9): in latents, or LPIPS on decoded pictures."""

from collections.abc import Callable

import torch
from torch.nn import functional as F

from edgestep.artifact import BadInput

KINDS = ("l2", "huber", "lpips")

Regression = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""(drawn, target), both float32 [B, C, h, w] -> the loss, a scalar."""


def huber_loss(x: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Return the mean of the pseudo-Huber (sqrt(|d|^2 + c^2) - c) / sqrt(CHW) per picture, d = x - target.

    c = 0.00054 sqrt(CHW) (Song and Dhariwal 2023, section 3.3): large errors of single pictures count less.
    """
    size = x[0].numel()
    c = 0.00054 * size**0.5
    distance = (x - target).square().sum((1, 2, 3))
    return ((distance + c * c).sqrt() - c).mean() / size**0.5


def regression_of(kind: str, decode: Callable[[torch.Tensor], torch.Tensor] | None = None) -> Regression:
    """Return the loss of that name; "lpips" looks at pictures, `decode` makes them of latents.

    Raises BadInput for another name, for "lpips" with no decoder, or without the package `lpips`.
    """
    if kind == "l2":
        return F.mse_loss
    if kind == "huber":
        return huber_loss
    if kind == "lpips" and decode is not None:
        from edgestep.distill.losses.perceptual import Perceptual

        return Perceptual(decode)
    if kind == "lpips":
        raise BadInput("got regression_kind 'lpips' and no decoder; expected one; take 'l2' or 'huber' in latents")
    raise BadInput(f"got regression_kind {kind!r}; expected one of {', '.join(KINDS)}; choose one of these")
