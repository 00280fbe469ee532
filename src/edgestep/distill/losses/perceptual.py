"""LPIPS (Zhang et al. 2018) between decoded pictures: DMD's own regression loss, where the package `lpips` is there."""

from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional as F

from edgestep.artifact import BadInput

SIZE = 224
"""Smaller pictures are enlarged to this, as DMD does for its 32 x 32 and 64 x 64 ones (appendix on implementation)."""


class Perceptual:
    """(drawn latents, target latents) -> mean LPIPS of their pictures, by VGG; gradients reach the drawn ones."""

    def __init__(self, decode: Callable[[torch.Tensor], torch.Tensor]):
        self.decode = decode
        self.network: Any = _lpips()

    def __call__(self, x: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Return the loss of latents float32 [B, C, h, w]."""
        self.network.to(x.device)
        with torch.no_grad():
            expected = _enlarged(self.decode(target))
        return self.network(_enlarged(self.decode(x)), expected).mean()


def _enlarged(pictures: torch.Tensor) -> torch.Tensor:
    if min(pictures.shape[-2:]) >= SIZE:
        return pictures
    return F.interpolate(pictures, (SIZE, SIZE), mode="bilinear", align_corners=False)


def _lpips() -> Any:
    try:
        import lpips
    except ImportError as error:
        raise BadInput(
            "got regression_kind 'lpips' and no package lpips; expected it; pip install lpips, or take 'l2' or 'huber'"
        ) from error
    return lpips.LPIPS(net="vgg", verbose=False).requires_grad_(False).eval()
