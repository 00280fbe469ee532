"""A Checkpoint -> the size of its latents and its picture, and what its decoder divides latents by."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgestep.artifact import BadInput
from edgestep.export.source.checkpoint import Checkpoint

SCALES = {"AutoencoderKL": 0.18215, "AutoencoderTiny": 1.0, "AutoencoderDC": 1.0}
"""Decoder class -> the scaling_factor that a config means that does not say: early ones do not."""


@dataclass(frozen=True)
class Sizes:
    """`latents` is (C, h, w), `image` (H, W), `factor` pixels per latent cell."""

    latents: tuple[int, int, int]
    image: tuple[int, int]
    factor: int


def sizes_of(checkpoint: Checkpoint) -> Sizes:
    """Return the sizes of the checkpoint's own resolution, or of `source.size`.

    Raises BadInput where the size is no multiple of what the network halves, or the decoder takes other channels.
    """
    denoiser, vae = checkpoint.configs[checkpoint.denoiser], checkpoint.configs["vae"]
    factor = _factor(checkpoint.classes["vae"], vae)
    channels = int(denoiser.get("in_channels", 4))
    takes = int(vae.get("latent_channels", channels))
    if takes != channels:
        raise BadInput(
            f"got a decoder of {takes} latent channels for a network of {channels}; expected the same; give a decoder "
            f"that was made for {checkpoint.base}"
        )
    if checkpoint.source.size is None:
        height, width = _own(checkpoint, denoiser)
    else:
        height, width = (side // factor for side in _checked(checkpoint.source.size, factor * _unit(denoiser)))
    return Sizes((channels, height, width), (height * factor, width * factor), factor)


def latent_scale(checkpoint: Checkpoint) -> float:
    """Return the decoder's scaling_factor: image = decode(x0 / latent_scale).

    Raises BadInput where it also shifts or normalises latents, which no pipeline here does.
    """
    vae = checkpoint.configs["vae"]
    for key in ("shift_factor", "latents_mean", "latents_std"):
        if vae.get(key):
            raise BadInput(f"got {key} in the VAE of {checkpoint.folder}; expected none, as in Stable Diffusion 1.5")
    scale = vae.get("scaling_factor")
    scale = float(SCALES[checkpoint.classes["vae"]] if scale is None else scale)
    if not (math.isfinite(scale) and scale > 0):
        raise BadInput(f"got scaling_factor {scale} in the VAE of {checkpoint.folder}; expected a positive number")
    return scale


def _own(checkpoint: Checkpoint, denoiser: Mapping[str, Any]) -> tuple[int, int]:
    size = denoiser.get("sample_size")
    if size is None:
        raise BadInput(
            f"got no sample_size in {checkpoint.folder / checkpoint.denoiser}; expected the size of the latents; say "
            "the picture's with --size"
        )
    return (int(size), int(size)) if isinstance(size, int | float) else (int(size[0]), int(size[1]))


def _checked(size: tuple[int, int], unit: int) -> tuple[int, int]:
    if any(side < unit or side % unit for side in size):
        near = " x ".join(str(max(1, round(side / unit)) * unit) for side in size)
        raise BadInput(f"got size {size[0]} x {size[1]}; expected multiples of {unit}; take {near}")
    return size


def _factor(kind: str, vae: Mapping[str, Any]) -> int:
    """Return pixels per latent cell: one doubling between every two levels of the decoder."""
    if kind == "AutoencoderTiny":
        levels = vae.get("decoder_block_out_channels", (64, 64, 64, 64))
        return int(vae.get("upsampling_scaling_factor", 2)) ** (len(levels) - 1)
    key = "encoder_block_out_channels" if kind == "AutoencoderDC" else "block_out_channels"
    return 2 ** (len(vae.get(key, (64,))) - 1)


def _unit(denoiser: Mapping[str, Any]) -> int:
    """Return what the latents' sides must be multiples of: a UNet halves them, a transformer cuts them in patches."""
    if "block_out_channels" in denoiser:
        return 2 ** (len(denoiser["block_out_channels"]) - 1)
    return int(denoiser.get("patch_size") or 1)
