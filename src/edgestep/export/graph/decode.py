"""Latents -> picture inside a graph: the decoder, and the rounding to uint8."""

from typing import Any

from edgestep.artifact import OneStep
from edgestep.export.graph.skeleton import changed
from edgestep.export.source.weights import LazyWeight, Weights

FIRST = ("post_quant_conv.weight", "decoder.conv_in.weight")
"""The convolution that AutoencoderKL applies first: with use_post_quant_conv, and without."""


def decode(vae: Any, latents: Any) -> Any:
    """Return the sample, [B,3,H,W] in about [-1, 1], of latents that were divided by the scale."""
    return vae.decode(latents, return_dict=False)[0]


def latents_from_x0(x0: Any, contract: OneStep) -> Any:
    """Return what the decoder takes: x0 / latent_scale + latent_shift."""
    latents = x0 if contract.latent_scale == 1 else x0 / contract.latent_scale
    return latents + contract.latent_shift if contract.latent_shift else latents


def can_fold_scale(kind: str, contract: OneStep) -> bool:
    """Tell whether the decoder begins with a convolution that can carry 1 / latent_scale.

    AutoencoderTiny begins with a tanh, AutoencoderDC with a shortcut around its convolution; a shift must come between.
    """
    return kind == "AutoencoderKL" and not contract.latent_shift and contract.latent_scale != 1


def fold_scale(weights: Weights, contract: OneStep) -> dict[str, LazyWeight]:
    """Return an AutoencoderKL's weights with 1 / latent_scale in its first convolution."""
    name = next(name for name in FIRST if name in weights)
    scale = contract.latent_scale
    scaled = changed(weights[name], f"/{scale!r}", weights[name].shape, lambda array: array.astype("float64") / scale)
    return {**weights, name: scaled}


def image_from_sample(sample: Any, dtype: str) -> Any:
    """[B,3,H,W] in about [-1, 1] -> [B,H,W,3]: uint8, rounded half to even, or float32 in [0, 1]."""
    import torch

    unit = (sample / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1)
    return torch.round(unit * 255).to(torch.uint8) if dtype == "uint8" else unit
