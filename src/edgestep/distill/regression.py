"""Teacher + pairs -> the one-step generator.

First regression on the teacher's pairs, then DMD's distribution matching with DMD2's two time-scale updates (Yin et
al. 2024a, 2024b): `fake_updates` updates of the fake score to one of the generator, regression kept beside it.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import UNet2DConditionModel
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from edgestep.distill.captions import Captions
from edgestep.distill.diffusion import Schedule, guided
from edgestep.distill.distribution_matching import fake_loss, matching_loss
from edgestep.distill.loop import Training, cosine_lr, run
from edgestep.distill.networks import teacher_scheduler
from edgestep.distill.recipe import EmojiRecipe
from edgestep.distill.teacher import Teacher, denoiser_of

CONDITIONING_T = 999
OneStepGenerator = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def generator_of(unet: UNet2DConditionModel, schedule: Schedule) -> OneStepGenerator:
    """Return G(z, prompt_embeds) = x0 in one step at t = 999."""

    def draw(noise: torch.Tensor, prompt_embeds: torch.Tensor) -> torch.Tensor:
        t = torch.full((len(noise),), CONDITIONING_T)
        return schedule.x0_from_velocity(noise, unet(noise, t, prompt_embeds).sample, t)

    return draw


@dataclass(frozen=True)
class Pairs:
    """The teacher's pairs with their embeddings looked up on demand."""

    noise: torch.Tensor
    caption: torch.Tensor
    x0: torch.Tensor

    def draw(self, count: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return (noise, caption, x0) of `count` random pairs."""
        chosen = torch.randint(len(self.noise), (count,), generator=generator)
        return self.noise[chosen], self.caption[chosen], self.x0[chosen]


def train_regression(work: Path, teacher: Teacher, pairs: Pairs, recipe: EmojiRecipe) -> UNet2DConditionModel:
    """Return a copy of the teacher that was taught mse(G(z, c), y) on the pairs: the warm start, and the ablation."""
    schedule = Schedule(teacher_scheduler())
    unet = copy.deepcopy(teacher.unet).requires_grad_(True).train()
    average = AveragedModel(unet, multi_avg_fn=get_ema_multi_avg_fn(0.99))
    lr = 3 * recipe.student_lr
    optimizer = torch.optim.AdamW(unet.parameters(), lr=lr, weight_decay=0.01)
    parts = {"unet": unet, "average": average, "optimizer": optimizer}
    training = Training(work, "regression", recipe.regression_steps, parts, seed=recipe.seed + 5)
    draw = generator_of(unet, schedule)

    def step(i: int, generator: torch.Generator) -> dict[str, float]:
        cosine_lr(optimizer, i, recipe.regression_steps, lr)
        noise, caption, x0 = pairs.draw(recipe.student_batch, generator)
        loss = F.mse_loss(draw(noise, teacher.prompt_embeds[caption]), x0)
        _update(optimizer, unet, loss)
        average.update_parameters(unet)
        return {"regression": loss.item()}

    run(training, step)
    return average.module.eval()


def train_matching(
    work: Path,
    teacher: Teacher,
    start: UNet2DConditionModel,
    pairs: Pairs,
    captions: Captions,
    recipe: EmojiRecipe,
) -> UNet2DConditionModel:
    """Return the one-step generator: distribution matching from `start`, with the regression as its anchor."""
    schedule = Schedule(teacher_scheduler())
    unet = copy.deepcopy(start).requires_grad_(True).train()
    fake = copy.deepcopy(teacher.unet).requires_grad_(True).train()
    average = AveragedModel(unet, multi_avg_fn=get_ema_multi_avg_fn(0.99))
    # beta1 = 0 for both: the two chase each other, momentum overshoots
    optimizer = torch.optim.AdamW(unet.parameters(), lr=recipe.student_lr, weight_decay=0.01, betas=(0.0, 0.999))
    fake_optimizer = torch.optim.AdamW(fake.parameters(), lr=recipe.fake_lr, weight_decay=0.01, betas=(0.0, 0.999))
    parts = {"unet": unet, "average": average, "optimizer": optimizer, "fake": fake, "fake_optimizer": fake_optimizer}
    training = Training(work, "matching", recipe.matching_steps, parts, seed=recipe.seed + 6)
    draw = generator_of(unet, schedule)
    null = teacher.prompt_embeds[captions.null : captions.null + 1]
    real = guided(denoiser_of(teacher.unet), null, recipe.guidance)
    size = recipe.student_batch

    def fresh(generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        pictures = torch.randint(len(captions.styled), (size,), generator=generator)
        plain = torch.rand(size, generator=generator) < recipe.unstyled_text
        caption = torch.where(plain, captions.unstyled[pictures], captions.styled[pictures])
        shape = (size, recipe.latent_channels, recipe.latent_size, recipe.latent_size)
        return torch.randn(shape, generator=generator), teacher.prompt_embeds[caption]

    def step(i: int, generator: torch.Generator) -> dict[str, float]:
        cosine_lr(optimizer, i, recipe.matching_steps, recipe.student_lr, warmup=50)
        losses = {}
        for _ in range(recipe.fake_updates):
            noise, embeds = fresh(generator)
            with torch.no_grad():
                x = draw(noise, embeds)
            loss = fake_loss(x, embeds, denoiser_of(fake), schedule, generator)
            _update(fake_optimizer, fake, loss)
            losses["fake"] = loss.item()
        noise, embeds = fresh(generator)
        x = draw(noise, embeds)
        matching = matching_loss(x, embeds, real, denoiser_of(fake), schedule, generator)
        pair_noise, pair_caption, pair_x0 = pairs.draw(size // 2, generator)
        regression = F.mse_loss(draw(pair_noise, teacher.prompt_embeds[pair_caption]), pair_x0)
        _update(optimizer, unet, matching + recipe.regression_weight * regression)
        average.update_parameters(unet)
        spread = x.detach().std().item()
        return losses | {"matching": matching.item(), "regression": regression.item(), "spread": spread}

    run(training, step)
    return average.module.eval()


def _update(optimizer: torch.optim.Optimizer, module: torch.nn.Module, loss: torch.Tensor) -> None:
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
    optimizer.step()
