"""Pictures + autoencoder -> scaled latents, encoded once: every picture in a few poses."""

import os
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from safetensors.torch import load_file, save_file

from edgestep.distill.augment import augment
from edgestep.distill.diffusion import batches
from edgestep.distill.progress import track
from edgestep.distill.recipe import EmojiRecipe


@torch.no_grad()
def encode_latents(work: Path, vae: AutoencoderKL, recipe: EmojiRecipe) -> tuple[torch.Tensor, float]:
    """Return (latents float32 [V, N, C, h, w] of unit deviation, the scale that they were multiplied by).

    V poses of each of the N pictures. Kept in `work`/latents.safetensors, made once.
    """
    path = work / "latents.safetensors"
    if not path.exists():
        pictures = load_file(work / "pictures.safetensors")["pictures"]
        generator = torch.Generator().manual_seed(recipe.seed + 2)
        poses = []
        for _ in track(range(recipe.variants), "encoding pictures"):
            parts = [
                vae.encode(augment(pictures[part], recipe.picture_size, generator)).latent_dist.mean
                for part in batches(len(pictures), 64)
            ]
            poses.append(torch.cat(parts))
        latents = torch.stack(poses)
        scale = 1 / latents.std()
        save_file({"latents": (latents * scale).contiguous(), "scale": scale.reshape(1)}, path.with_suffix(".tmp"))
        os.replace(path.with_suffix(".tmp"), path)
    kept = load_file(path)
    return kept["latents"], kept["scale"].item()
