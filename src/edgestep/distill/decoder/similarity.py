"""Two sets of pictures -> PSNR and SSIM of each pair, on the device where the pictures are."""

import torch
from torch.nn import functional as F

WINDOW, SIGMA = 11, 1.5
K1, K2 = 0.01, 0.03
MOST = 200.0
"""PSNR in dB of equal pictures: JSON has no infinity."""


def psnr(reference: torch.Tensor, output: torch.Tensor) -> torch.Tensor:
    """Return dB [B] of pictures [B, 3, H, W] in [0, 1], peak 1."""
    mse = (reference.double() - output.double()).square().mean((1, 2, 3))
    return decibels(mse)


def decibels(mse: torch.Tensor) -> torch.Tensor:
    """Return -10 log10(mse), at most MOST; a NaN stays one."""
    return (-10 * torch.log10(mse.double())).clamp(max=MOST)


def ssim(reference: torch.Tensor, output: torch.Tensor) -> torch.Tensor:
    """Return the structural similarity [B] of pictures [B, 3, H, W] in [0, 1], the mean over channels and places.

    Wang et al. 2004: Gaussian window of 11 x 11 with sigma 1.5, K1 0.01, K2 0.03, only where the whole window lies
    inside the picture, so H and W are at least 11.
    """
    reference, output = reference.double(), output.double()
    mean_r, mean_o = _blurred(reference), _blurred(output)
    var_r = _blurred(reference.square()) - mean_r.square()
    var_o = _blurred(output.square()) - mean_o.square()
    covariance = _blurred(reference * output) - mean_r * mean_o
    luminance = (2 * mean_r * mean_o + K1**2) / (mean_r.square() + mean_o.square() + K1**2)
    structure = (2 * covariance + K2**2) / (var_r + var_o + K2**2)
    return (luminance * structure).mean((1, 2, 3))


def _blurred(pictures: torch.Tensor) -> torch.Tensor:
    """Weigh by the window: columns, then rows."""
    places = torch.arange(WINDOW, dtype=pictures.dtype, device=pictures.device) - WINDOW // 2
    weights = torch.exp(-0.5 * (places / SIGMA).square())
    weights = (weights / weights.sum()).expand(pictures.shape[1], 1, 1, WINDOW)
    channels = pictures.shape[1]
    return F.conv2d(F.conv2d(pictures, weights, groups=channels), weights.mT, groups=channels)
