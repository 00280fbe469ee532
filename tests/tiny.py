"""A small random checkpoint of exactly the classes and config keys of Stable Diffusion 1.5."""

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from diffusers import AutoencoderKL, LCMScheduler, UNet2DConditionModel

from edgestep.distill.checkpoint import save_checkpoint
from edgestep.distill.emoji.networks import new_text_encoder
from edgestep.distill.emoji.recipe import EmojiRecipe
from edgestep.distill.emoji.tokenizer import train_tokenizer

RECIPE = EmojiRecipe(text_width=32, text_layers=2, prompt_tokens=16, vocabulary=600, attention_heads=2)


@dataclass(frozen=True)
class Sizes:
    """Channels of each network, the text encoder's layers, and layers a block."""

    text: int = 32
    text_layers: int = 2
    unet: tuple[int, ...] = (16, 32)
    vae: tuple[int, ...] = (8, 16)
    layers: int = 1


TINY = Sizes()
SMALL = Sizes(text=192, text_layers=4, unet=(64, 128, 256), vae=(32, 64, 96), layers=2)
"""Large enough that weights, and not names, are what a file holds: 20 M of them."""


def save_tiny_checkpoint(folder: Path, *, prediction_type: str = "epsilon", seed: int = 0, sizes: Sizes = TINY) -> None:
    """Write the folder: 4 latent channels, 8 x 8 latents, epsilon at t = 999 as DMD's SD1.5."""
    torch.manual_seed(seed)
    recipe = replace(RECIPE, text_width=sizes.text, text_layers=sizes.text_layers)
    tokenizer = train_tokenizer(["a red heart", "grinning face", "cat face", "green apple"] * 4, recipe)
    plain = len(sizes.unet) - 1
    unet = UNet2DConditionModel(
        sample_size=8,
        block_out_channels=sizes.unet,
        down_block_types=("CrossAttnDownBlock2D",) * plain + ("DownBlock2D",),
        up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * plain,
        layers_per_block=sizes.layers,
        cross_attention_dim=sizes.text,
        attention_head_dim=2,
        norm_num_groups=8,
    )
    vae = AutoencoderKL(
        block_out_channels=sizes.vae,
        down_block_types=("DownEncoderBlock2D",) * len(sizes.vae),
        up_block_types=("UpDecoderBlock2D",) * len(sizes.vae),
        layers_per_block=sizes.layers,
        norm_num_groups=4,
        sample_size=8 * 2 ** (len(sizes.vae) - 1),
    )
    scheduler = LCMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type=prediction_type,
        clip_sample=False,
        original_inference_steps=50,
        steps_offset=1,
    )
    save_checkpoint(
        folder,
        tokenizer=tokenizer,
        text_encoder=new_text_encoder(recipe, tokenizer),
        unet=unet,
        vae=vae,
        scheduler=scheduler,
        card="A random checkpoint for tests.\n",
    )
