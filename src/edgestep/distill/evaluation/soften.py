"""Small faults that a generator's pictures have and drawn ones have not, so that the judge looks past them."""

import torch
from torch.nn import functional as F

BLUR, NOISE, LIGHT, CONTRAST = 0, 1, 2, 3
"""Columns of `strengths`."""


def soften(pictures: torch.Tensor, strengths: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
    """Blur, lighten or darken, stretch the contrast, add noise: [B, 3, H, W] in [-1, 1] -> the same, clamped.

    `strengths` [B, 4] in [0, 1]: blur (0 none, 1 a 5 x 5 tent, as soft as a VAE), noise (0 to 0.1), brightness
    (-0.1 to 0.1), contrast (0.85 to 1.15). `noise` is standard normal, shaped as the pictures.
    """
    strengths = strengths[:, :, None, None, None]
    smooth = F.avg_pool2d(F.pad(pictures, (2, 2, 2, 2), mode="replicate"), 3, stride=1)
    smooth = F.avg_pool2d(smooth, 3, stride=1)
    out = torch.lerp(pictures, smooth, strengths[:, BLUR])
    out = out * (0.85 + 0.3 * strengths[:, CONTRAST]) + (0.2 * strengths[:, LIGHT] - 0.1)
    return (out + 0.1 * strengths[:, NOISE] * noise).clamp(-1, 1)
