"""VAE decoder -> an untrained AutoencoderTiny for the same latents, as wide as a budget of operations allows.

Every convolution of the shape (TAESD's) has the same number of channels, so the operations on a level grow with its
area. Blocks belong on the small levels: one block at full size costs as much as 64 of them three levels below.
"""

from typing import Any

import torch

from edgestep.artifact import BadInput

UNIT = 4
"""Channels are a multiple of this."""
MOST = 64
"""TAESD's width, which is enough for pictures of 512 x 512: no more are taken unless asked for."""


def new_tiny_decoder(
    vae: Any,
    *,
    latent_size: tuple[int, int],
    blocks: tuple[int, ...],
    flops: float = 0.25,
    channels: int = 0,
) -> Any:
    """Return an AutoencoderTiny that decodes `vae`'s latents to pictures of the same size, in float32.

    `blocks`: residual blocks on each level, from the latents' size up. `channels`: on every level; where 0, as many, up
    to MOST, as keep the decoder's operations within `flops` times the VAE decoder's at latents of `latent_size` (h, w).
    The encoder is a placeholder of zeros: the shape demands one. Raises BadInput where no width fits, or levels differ.
    """
    levels = len(vae.config["block_out_channels"])
    if len(blocks) != levels or any(count < 0 for count in blocks):
        raise BadInput(
            f"got blocks {blocks}; expected {levels} numbers, one for each level of the VAE; "
            "give as many, such as 6,4,1,0"
        )
    channels = channels or widest(vae, latent_size, blocks, flops)
    return _tiny(vae, blocks, channels)


def widest(vae: Any, latent_size: tuple[int, int], blocks: tuple[int, ...], flops: float) -> int:
    """Return the most channels, a multiple of UNIT up to MOST, within `flops` times the VAE decoder's operations."""
    shape = (int(vae.config["latent_channels"]), *latent_size)
    budget = flops * decoder_flops(vae, shape)
    fitting = 0
    for channels in range(UNIT, MOST + 1, UNIT):
        with torch.device("meta"):
            taken = decoder_flops(_tiny(vae, blocks, channels), shape)
        if taken > budget:
            break
        fitting = channels
    if not fitting:
        raise BadInput(
            f"got a budget of {flops:g} times the VAE decoder's operations; expected enough for {UNIT} channels with "
            f"blocks {blocks}; raise it, or take fewer blocks"
        )
    return fitting


def decoder_flops(vae: Any, latent_shape: tuple[int, int, int]) -> int:
    """Return the floating-point operations (two a multiply-add) of decoding one latent [C, h, w], as torch counts."""
    from torch.utils.flop_counter import FlopCounterMode

    parameter = next(vae.parameters())
    latents = torch.zeros((1, *latent_shape), device=parameter.device, dtype=parameter.dtype)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        vae.decode(latents)
    return counter.get_total_flops()


def decoder_parameters(vae: Any) -> int:
    """Return how many weights decoding reads."""
    parts = [vae.decoder, getattr(vae, "post_quant_conv", None)]
    return sum(p.numel() for part in parts if part is not None for p in part.parameters())


def _tiny(vae: Any, blocks: tuple[int, ...], channels: int) -> Any:
    from diffusers import AutoencoderTiny

    levels = len(blocks)
    tiny = AutoencoderTiny(
        latent_channels=int(vae.config["latent_channels"]),
        out_channels=int(vae.config["out_channels"]),
        encoder_block_out_channels=(UNIT,) * levels,
        num_encoder_blocks=(0,) * levels,
        decoder_block_out_channels=(channels,) * levels,
        num_decoder_blocks=blocks,
    )
    # diffusers writes this of the decoder's and reads it back in its pipelines, for the factor between the sizes
    tiny.register_to_config(block_out_channels=[channels] * levels)
    for parameter in tiny.encoder.parameters():
        torch.nn.init.zeros_(parameter)
    return tiny
