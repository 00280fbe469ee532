"""Mutants of the picture: channels, orientation, range, rounding, and pictures that say nothing."""

from pathlib import Path

import numpy as np

from tests.harness.mutants.onnx_graph import DECODER_IN, DECODER_OUT, FORMULA, edited

SIDE = 64
"""Height and width of the picture."""


def latent_channels_shuffled(folder: Path) -> None:
    """The decoder reads the latent's channels in another order."""
    with edited(folder, "vae") as graph:
        graph.set_weight(DECODER_IN, 1, np.roll(graph.weight(DECODER_IN, 1), 1, axis=1))


def bgr(folder: Path) -> None:
    """Red and blue have changed places."""
    with edited(folder, "vae") as graph:
        for index in (1, 2):
            graph.set_weight(DECODER_OUT, index, graph.weight(DECODER_OUT, index)[::-1])


def flipped(folder: Path) -> None:
    """Left and right have changed places."""
    _rearranged(folder, 3, np.arange(SIDE)[::-1])


def upside_down(folder: Path) -> None:
    """Top and bottom have changed places."""
    _rearranged(folder, 2, np.arange(SIDE)[::-1])


def one_pixel_right(folder: Path) -> None:
    """The picture is shifted by one pixel."""
    _rearranged(folder, 3, np.roll(np.arange(SIDE), 1))


def transposed(folder: Path) -> None:
    """Rows and columns have changed places."""
    with edited(folder, "vae") as graph:
        graph.after(DECODER_OUT, ("Transpose", (), {"perm": [0, 1, 3, 2]}))


def channels_last_mixed_up(folder: Path) -> None:
    """Planes of colour are read as pixels: [3, H, W] taken for [H, W, 3]."""
    shape = np.array([1, SIDE, SIDE, 3])
    with edited(folder, "vae") as graph:
        graph.after(DECODER_OUT, ("Reshape", (shape,), {}), ("Transpose", (), {"perm": [0, 3, 1, 2]}))


def range_halved_twice(folder: Path) -> None:
    """sample / 2 + 0.5 is taken twice: a washed-out picture."""
    _affine(folder, 0.5, 0.5)


def limited_range(folder: Path) -> None:
    """Video levels: 0 to 255 become 16 to 235."""
    _affine(folder, 219 / 255, (16 + 235) / 255 - 1)


def two_levels_darker(folder: Path) -> None:
    """Every value is 2 / 255 lower."""
    _affine(folder, 1.0, -4 / 255)


def truncated_to_uint8(folder: Path) -> None:
    """Floor for round in the fused graph."""
    with edited(folder, "vae") as graph:
        graph.node("Round").op_type = "Floor"


def nan_first_in_x0(folder: Path) -> None:
    """The first value of x0 is NaN."""
    nan = np.zeros((1, 16, 8, 8), np.float32)
    nan[0, 0, 0, 0] = np.nan
    with edited(folder, "unet") as graph:
        graph.after(FORMULA[2], ("Add", (nan,), {}))


def nan_first_pixel(folder: Path) -> None:
    """The first value of the decoder's output is NaN: rounding would make it a black pixel's channel."""
    nan = np.zeros((1, 3, SIDE, SIDE), np.float32)
    nan[0, 0, 0, 0] = np.nan
    with edited(folder, "vae") as graph:
        graph.after(DECODER_OUT, ("Add", (nan,), {}))


def constant_image(folder: Path) -> None:
    """Every pixel is mid grey."""
    _affine(folder, 0.0, 0.0)


def one_picture_for_all(folder: Path) -> None:
    """Every case gives the same noisy picture."""
    picture = np.random.default_rng(0).uniform(-1, 1, (1, 3, SIDE, SIDE)).astype(np.float32)
    with edited(folder, "vae") as graph:
        graph.after(DECODER_OUT, ("Mul", (np.float32(0),), {}), ("Add", (picture,), {}))


def _rearranged(folder: Path, axis: int, order: np.ndarray) -> None:
    with edited(folder, "vae") as graph:
        graph.after(DECODER_OUT, ("Gather", (np.ascontiguousarray(order),), {"axis": axis}))


def _affine(folder: Path, times: float, plus: float) -> None:
    with edited(folder, "vae") as graph:
        graph.after(DECODER_OUT, ("Mul", (np.float32(times),), {}), ("Add", (np.float32(plus),), {}))
