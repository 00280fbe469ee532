"""Small random pose changes, so that noise has something to choose and the networks do not learn pixels by heart."""

import math

import torch
from torch.nn import functional as F


def draw_poses(count: int, generator: torch.Generator) -> torch.Tensor:
    """Return float32 [count, 4] in [-1, 1]: rotation, zoom, shift right, shift down; zeros leave a picture as it is."""
    return torch.rand(count, 4, generator=generator) * 2 - 1


def augment(pictures: torch.Tensor, poses: torch.Tensor, size: int) -> torch.Tensor:
    """Rotate (up to 8 degrees), zoom (7 %) and shift (3 %) each picture as `poses` [B, 4] says.

    `pictures`: uint8 [B, 3, S, S]. Returns float32 [B, 3, size, size] in [-1, 1], white outside.
    """
    angle, zoom = poses[:, 0] * math.radians(8), 1 + poses[:, 1] * 0.07
    cos, sin = torch.cos(angle) * zoom, torch.sin(angle) * zoom
    shift = poses[:, 2:] * 0.06
    theta = torch.stack([torch.stack([cos, -sin, shift[:, 0]], 1), torch.stack([sin, cos, shift[:, 1]], 1)], 1)
    ink = 1 - pictures.float() / 255
    grid = F.affine_grid(theta, [len(pictures), 3, size, size], align_corners=False)
    moved = F.grid_sample(ink, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    return 1 - 2 * moved
