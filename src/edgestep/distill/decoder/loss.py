"""Tiny decoder's pictures, the VAE's -> a loss: squared error at three sizes, and a little absolute error.

TAESD's recipe in its plain form: the decoder learns the pictures of the large one, not those that were encoded, so it
has nothing to make up, and squared error (which PSNR measures) leads; the smaller sizes hold the colours of areas.
"""

import torch
from torch.nn import functional as F

ABSOLUTE = 0.05
SMALLER = 0.25
"""Weight of each halved size."""
SIZES = 3


def picture_error(drawn: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Return drawn - target, both [B, 3, H, W] in about [-1, 1], as a viewer sees it.

    Pictures are cut to [-1, 1]. Where the target lies at an end, a value beyond the same end is no error.
    """
    target = target.clamp(-1, 1)
    error = drawn - target
    forgiven = ((target == 1) & (error > 0)) | ((target == -1) & (error < 0))
    return error.masked_fill(forgiven, 0)


def decoder_loss(drawn: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Return the loss, a float32 scalar, of pictures [B, 3, H, W]; H and W multiples of 4."""
    error = picture_error(drawn.float(), target.float())
    loss = error.square().mean() + ABSOLUTE * error.abs().mean()
    for _ in range(SIZES - 1):
        error = F.avg_pool2d(error, 2)
        loss = loss + SMALLER * error.square().mean()
    return loss
