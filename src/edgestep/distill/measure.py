"""How well each generator draws: concept accuracy by nearest picture, spread, and evaluations per picture.

A drawn picture counts for its concept when, among all pictures of the data, one of its nearest `k` (mean squared
distance of 16 x 16 thumbnails in luma and chroma) shows that concept. It is a stricter cousin of a classifier's
accuracy that needs no training; the data's own pictures in another pose give its ceiling.
"""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import load_file
from torch.nn import functional as F

from edgestep.distill.augment import augment
from edgestep.distill.autoencoder import luma_chroma
from edgestep.distill.captions import Captions
from edgestep.distill.diffusion import Schedule, batches, guided, sample_ddim
from edgestep.distill.networks import teacher_scheduler
from edgestep.distill.recipe import EmojiRecipe
from edgestep.distill.student import generator_of
from edgestep.distill.teacher import Teacher, denoiser_of

COUNT = 256


def thumbnails(pictures: torch.Tensor) -> torch.Tensor:
    """Pictures [B, 3, 64, 64] in [-1, 1] -> feature vectors [B, 3 * 16 * 16]."""
    return F.adaptive_avg_pool2d(luma_chroma(pictures.clamp(-1, 1)), 16).flatten(1)


def concept_accuracy(drawn: torch.Tensor, concepts: torch.Tensor, known: torch.Tensor, of: torch.Tensor) -> dict:
    """Return {"top1", "top5"}: shares of `drawn` features whose nearest 1, 5 `known` ones hold the right concept.

    `drawn` [B, D], `concepts` [B] the concept index wanted; `known` [N, D], `of` [N] their concepts.
    """
    nearest = torch.cdist(drawn, known).topk(5, largest=False).indices
    hits = of[nearest] == concepts[:, None]
    return {"top1": hits[:, :1].any(1).float().mean().item(), "top5": hits.any(1).float().mean().item()}


@torch.no_grad()
def measure_generators(
    work: Path,
    vae: AutoencoderKL,
    teacher: Teacher,
    networks: Mapping[str, UNet2DConditionModel],
    captions: Captions,
    recipe: EmojiRecipe,
    tell: Callable[[str], None],
) -> dict[str, Any]:
    """Draw the same styled prompts from the same noise with each generator; return {name: {measure: value}}.

    `networks`: "teacher" is sampled with 50 steps and guidance, and in one step; the others in one step.
    """
    pictures = load_file(work / "pictures.safetensors")["pictures"]
    styles = len(pictures) // len(set(captions.unstyled.tolist()))
    concept_of = torch.arange(len(pictures)) // styles
    generator = torch.Generator().manual_seed(recipe.seed + 77)
    known = _features(augment(pictures, recipe.picture_size, generator))
    chosen = torch.randperm(len(pictures), generator=generator)[:COUNT]
    shape = (len(chosen), recipe.latent_channels, recipe.latent_size, recipe.latent_size)
    noise = torch.randn(shape, generator=generator)
    embeds = teacher.prompt_embeds[captions.styled[chosen]]
    null = teacher.prompt_embeds[captions.null : captions.null + 1]
    schedule, scheduler = Schedule(teacher_scheduler()), teacher_scheduler()
    steps = recipe.teacher_nfe_steps
    fifty = guided(denoiser_of(teacher.unet), null, recipe.guidance)
    ways: dict[str, tuple[int, Callable]] = {
        f"teacher, {steps} steps with CFG": (2 * steps, lambda z, e: sample_ddim(fifty, scheduler, z, e, steps)),
    }
    for name, network in networks.items():
        ways[f"{name}, 1 step"] = (1, generator_of(network, schedule))
    table: dict[str, Any] = {}
    again = _features(augment(pictures[chosen], recipe.picture_size, generator))
    table["data, another pose"] = {"nfe": 0} | concept_accuracy(again, concept_of[chosen], known, concept_of)
    for name, (nfe, draw) in ways.items():
        start = time.perf_counter()
        x0 = torch.cat([draw(noise[part], embeds[part]) for part in batches(len(chosen), 64)])
        seconds = (time.perf_counter() - start) / len(chosen)
        drawn = _features(torch.cat([vae.decode(part / vae.config["scaling_factor"]).sample for part in x0.split(64)]))
        table[name] = {"nfe": nfe, "x0_std": x0.std().item(), "seconds": seconds}
        table[name] |= concept_accuracy(drawn, concept_of[chosen], known, concept_of)
        tell(f"{name}: {table[name]}")
    return table


def _features(pictures: torch.Tensor) -> torch.Tensor:
    return torch.cat([thumbnails(part) for part in pictures.split(256)])
