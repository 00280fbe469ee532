"""Teacher -> (noise, caption, x0) pairs along its deterministic path: what the regression loss is taught with.

Written in blocks, so that a killed run loses a block at the most.
"""

import os
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from edgestep.distill.captions import Captions
from edgestep.distill.diffusion import guided, sample_ddim
from edgestep.distill.networks import teacher_scheduler
from edgestep.distill.progress import track
from edgestep.distill.recipe import EmojiRecipe
from edgestep.distill.teacher import Teacher, denoiser_of

BLOCK = 128


def draw_pairs(work: Path, teacher: Teacher, captions: Captions, recipe: EmojiRecipe) -> dict[str, torch.Tensor]:
    """Return {"noise" [P, C, h, w], "caption" int64 [P], "x0" [P, C, h, w]}, drawing the blocks that are not there."""
    folder = work / "pairs"
    folder.mkdir(parents=True, exist_ok=True)
    null = teacher.prompt_embeds[captions.null : captions.null + 1]
    denoiser = guided(denoiser_of(teacher.unet), null, recipe.guidance)
    blocks = []
    for i in track(range(recipe.pairs // BLOCK), "drawing teacher pairs"):
        path = folder / f"{i:05d}.safetensors"
        if not path.exists():
            generator = torch.Generator().manual_seed(recipe.seed * 1_000_003 + 500_000 + i)
            pictures = torch.randint(len(captions.styled), (BLOCK,), generator=generator)
            plain = torch.rand(BLOCK, generator=generator) < recipe.unstyled_text
            caption = torch.where(plain, captions.unstyled[pictures], captions.styled[pictures])
            shape = (BLOCK, recipe.latent_channels, recipe.latent_size, recipe.latent_size)
            noise = torch.randn(shape, generator=generator)
            x0 = sample_ddim(denoiser, teacher_scheduler(), noise, teacher.prompt_embeds[caption], recipe.pair_steps)
            save_file({"noise": noise, "caption": caption, "x0": x0.contiguous()}, path.with_suffix(".tmp"))
            os.replace(path.with_suffix(".tmp"), path)
        blocks.append(load_file(path))
    return {name: torch.cat([block[name] for block in blocks]) for name in ("noise", "caption", "x0")}
