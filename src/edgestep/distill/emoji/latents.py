"""Pictures + autoencoder -> scaled latents, encoded once: every picture in a few poses."""

import os
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from safetensors.torch import load_file, save_file

from edgestep.distill.diffusion import batches
from edgestep.distill.emoji.augment import augment, draw_poses
from edgestep.distill.emoji.recipe import EmojiRecipe
from edgestep.distill.progress import track
from edgestep.distill.workers import Workers


@torch.no_grad()
def encode_latents(work: Path, vae: AutoencoderKL, recipe: EmojiRecipe, workers: Workers) -> tuple[torch.Tensor, float]:
    """Return (latents float32 [V, N, C, h, w] of unit deviation on the device, the scale that they were multiplied by).

    V poses of each of the N pictures. Kept in `work`/latents.safetensors, made once, by the main process.
    """
    path = work / "latents.safetensors"
    if workers.is_main and not path.exists():
        pictures = load_file(work / "pictures.safetensors")["pictures"]
        generator = torch.Generator().manual_seed(recipe.seed + 2)
        poses = []
        for _ in track(range(recipe.variants), "encoding pictures"):
            drawn = draw_poses(len(pictures), generator)
            parts = [_encode(vae, pictures[part], drawn[part], recipe, workers) for part in batches(len(pictures), 256)]
            poses.append(torch.cat(parts))
        latents = torch.stack(poses)
        scale = 1 / latents.std()
        save_file({"latents": (latents * scale).contiguous(), "scale": scale.reshape(1)}, path.with_suffix(".tmp"))
        os.replace(path.with_suffix(".tmp"), path)
    workers.wait()
    kept = load_file(path)
    return kept["latents"].to(workers.device), kept["scale"].item()


def _encode(vae: AutoencoderKL, pictures: torch.Tensor, poses: torch.Tensor, recipe: EmojiRecipe, workers: Workers):
    there = augment(pictures.to(workers.device), poses.to(workers.device), recipe.picture_size)
    return vae.encode(there).latent_dist.mean.cpu()
