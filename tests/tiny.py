"""A small random checkpoint of exactly the classes and config keys of Stable Diffusion 1.5."""

from pathlib import Path

import torch
from diffusers import AutoencoderKL, LCMScheduler, UNet2DConditionModel

from edgestep.distill.checkpoint import save_checkpoint
from edgestep.distill.emoji.networks import new_text_encoder
from edgestep.distill.emoji.recipe import EmojiRecipe
from edgestep.distill.emoji.tokenizer import train_tokenizer

RECIPE = EmojiRecipe(text_width=32, text_layers=2, prompt_tokens=16, vocabulary=600, attention_heads=2)


def save_tiny_checkpoint(folder: Path, *, prediction_type: str = "epsilon", seed: int = 0) -> None:
    """Write the folder: 4 latent channels, 8 x 8 latents, 16 x 16 pictures, epsilon at t = 999 as DMD's SD1.5."""
    torch.manual_seed(seed)
    tokenizer = train_tokenizer(["a red heart", "grinning face", "cat face", "green apple"] * 4, RECIPE)
    unet = UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(16, 32),
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        layers_per_block=1,
        cross_attention_dim=32,
        attention_head_dim=2,
        norm_num_groups=8,
    )
    vae = AutoencoderKL(
        block_out_channels=(8, 16),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        layers_per_block=1,
        norm_num_groups=4,
        sample_size=16,
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
        text_encoder=new_text_encoder(RECIPE, tokenizer),
        unet=unet,
        vae=vae,
        scheduler=scheduler,
        card="A random checkpoint for tests.\n",
    )
