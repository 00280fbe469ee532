"""The decoder of a checkpoint -> which of its modules must stay float32, found by running it on small latents.

What it is run on, since a denoiser is too expensive to run for this: latents with the statistics that latent_scale is
defined to give, x0 of unit variance, as smooth fields of several wavelengths and as noise, one of them with peaks of 4
sigma, which real latents reach. They are not what this checkpoint draws, hence the margin of overflow.py. Latents that
it did draw may be handed over, and are run in addition.

The graph is run at its own small size, not at the picture's: a decoder of convolutions gives a pixel the same values
whatever lies far from it, only norms and the one attention look at the whole. A 1024 x 1024 picture would need 4 GB and
minutes. A config that says `force_upcast`, as SDXL's does, is known to overflow: it is run at twice the size.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from edgestep.artifact import OneStep
from edgestep.export.graph.graphs import Graphs
from edgestep.export.onnx.onnx_from_torch import onnx_from_torch
from edgestep.export.onnx.overflow import Ranges, ranges_from_onnx

SIDE, SIDE_FORCED = 128, 256
"""Pixels. Side of the picture that is decoded: 16 and 32 latent cells of an AutoencoderKL."""
WAVELENGTHS = (1, 4, 16)
"""Latent cells. From grain to a flat picture."""
PEAK = 4.0
"""Sigma."""
GIVEN = 4
"""How many of the latents that were handed over are run."""


def decoder_ranges(graphs: Graphs) -> Ranges:
    """Return what stays float32 of `vae_decoder`, and of the decoder inside `generator`, where names are the same.

    A window of each of `graphs.latents` is run too, where it peaks. It runs once per Graphs.
    """
    if "vae_decoder" not in graphs.ranges:
        graphs.ranges["vae_decoder"] = _ranges(graphs)
    return graphs.ranges["vae_decoder"]


def _ranges(graphs: Graphs) -> Ranges:
    small = _small_contract(graphs)
    fits = small == graphs.contract and not graphs.shapes.resolution and not graphs.shapes.batch
    probe = graphs if fits else Graphs(graphs.checkpoint, small)
    own, given = tuple(smooth_latents(small.latent_shape)), graphs.latents[:GIVEN]
    fields = (*own, *(window_at_peak(z, small.latent_shape) for z in given))
    graphs.tell(f"looking for values that leave float16's range in vae_decoder, {len(fields)} latents")
    fed = f"{len(own)} made-up latents" + (f" and {len(given)} drawn ones" if given else "")
    _, height, width = small.latent_shape
    return ranges_from_onnx(
        onnx_from_torch(probe, "vae_decoder"),
        ({"latent_sample": _divided(x0, small)} for x0 in fields),
        "vae_decoder",
        f"run on {fed} of {height}x{width}",
    )


def smooth_latents(shape: tuple[int, int, int]) -> Iterator[np.ndarray]:
    """Yield x0, float32 [1, C, h, w], always the same: a field of unit variance per wavelength, and one that peaks."""
    random = np.random.default_rng(0)
    for cells in WAVELENGTHS:
        field = _smooth(random, shape, cells)
        yield (field / field.std()).clip(-PEAK, PEAK)
    field = _smooth(random, shape, WAVELENGTHS[1])
    yield field * (PEAK / np.abs(field).max())


def _smooth(random: np.random.Generator, shape: tuple[int, int, int], cells: int) -> np.ndarray:
    """Return noise [1, C, h, w] that is drawn every so many cells, and linear between."""
    channels, *sides = shape
    field = random.standard_normal((channels, *(side // cells + 2 for side in sides)))
    for axis, side in enumerate(sides, 1):
        at = np.arange(side) / cells
        low, part = at.astype(int), (at % 1).reshape([-1 if i == axis else 1 for i in range(3)])
        field = field.take(low, axis) * (1 - part) + field.take(low + 1, axis) * part
    return field.astype(np.float32)[None]


def window_at_peak(x0: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """Return the part [1, C, h, w] around the largest |x0|."""
    peak = np.unravel_index(np.abs(x0).argmax(), x0.shape)
    cut = [slice(None), slice(None)]
    for at, side, size in zip(peak[2:], shape[1:], x0.shape[2:], strict=True):
        start = max(0, min(int(at) - side // 2, size - side))
        cut.append(slice(start, start + side))
    return x0[tuple(cut)]


def _divided(x0: np.ndarray, contract: OneStep) -> np.ndarray:
    return (x0 / contract.latent_scale + contract.latent_shift).astype(np.float32)


def _small_contract(graphs: Graphs) -> OneStep:
    """Return the contract with pictures of at most SIDE pixels a side."""
    contract = graphs.contract
    side = SIDE_FORCED if graphs.checkpoint.configs["vae"].get("force_upcast") else SIDE
    (channels, *cells), pixels = contract.latent_shape, contract.image_size
    factor = pixels[0] // cells[0]
    height, width = (min(size, max(1, side // factor)) for size in cells)
    return replace(contract, latent_shape=(channels, height, width), image_size=(height * factor, width * factor))
