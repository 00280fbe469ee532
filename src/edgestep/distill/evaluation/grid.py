"""Fixed prompts as rows, ways to draw as columns, one noise a row: the picture that shows what the table says."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw

from edgestep.distill.evaluation.prompts import noise_of
from edgestep.distill.evaluation.ways import Way

LABEL, HEAD, GAP = 190, 18, 4
"""Pixels for the prompts on the left, the names above, and between pictures."""


def draw_columns(ways: Sequence[Way], prompts: Sequence[str], seed: int) -> dict[str, np.ndarray]:
    """Return each way's pictures uint8 [P, H, W, 3] of the prompts, prompt i from the same noise i for all."""
    noise = noise_of(len(prompts), ways[0].latent_shape, seed)
    return {way.name: to_uint8(way.draw(list(prompts), noise)) for way in ways}


def to_uint8(pictures: torch.Tensor) -> np.ndarray:
    """[B, 3, H, W] in [-1, 1] -> uint8 [B, H, W, 3]."""
    return ((pictures + 1) * 127.5).round().clamp(0, 255).byte().permute(0, 2, 3, 1).cpu().numpy()


def save_grid(columns: dict[str, np.ndarray], prompts: Sequence[str], path: Path) -> None:
    """Write a PNG aside, then move it into place: prompts down the left, names along the top."""
    height, width = next(iter(columns.values())).shape[1:3]
    wide = max(width, 100) + GAP  # room for a name above each
    page = Image.new("RGB", (LABEL + wide * len(columns), HEAD + (height + GAP) * len(prompts)), "white")
    pen = ImageDraw.Draw(page)
    for column, (name, pictures) in enumerate(columns.items()):
        left = LABEL + column * wide
        pen.text((left, 3), name, fill="black")
        for row, picture in enumerate(pictures):
            page.paste(Image.fromarray(picture), (left, HEAD + row * (height + GAP)))
    for row, prompt in enumerate(prompts):
        pen.text((4, HEAD + row * (height + GAP) + height // 2 - 6), prompt[:34], fill="black")
    aside = path.with_name(f".{os.getpid()}.{path.name}")
    page.save(aside, format="PNG")
    os.replace(aside, path)
