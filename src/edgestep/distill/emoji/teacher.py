"""Latents + captions -> the teacher: a v-predicting text-conditional diffusion model, and its text encoder.

Both are trained together from nothing; the averages (EMA) are kept.
"""

from pathlib import Path

import torch
from diffusers import UNet2DConditionModel
from transformers import CLIPTextModel

from edgestep.distill.average import Average
from edgestep.distill.diffusion import Schedule
from edgestep.distill.emoji.captions import Captions
from edgestep.distill.emoji.networks import new_text_encoder, new_unet, teacher_scheduler
from edgestep.distill.emoji.recipe import EmojiRecipe
from edgestep.distill.loop import Losses, Training, cosine_lr, run
from edgestep.distill.losses.denoising import denoising_loss
from edgestep.distill.teacher import Teacher
from edgestep.distill.workers import Workers, adamw


class TextToVelocity(torch.nn.Module):
    """Text encoder and denoiser as one module: one optimizer, one average, one saved state."""

    def __init__(self, unet: UNet2DConditionModel, text_encoder: CLIPTextModel):
        super().__init__()
        self.unet, self.text_encoder = unet, text_encoder

    def forward(self, x_t: torch.Tensor, t: torch.Tensor, input_ids: torch.Tensor) -> torch.Tensor:
        """Return v [B, C, h, w] for x_t [B, C, h, w], t [B], input_ids [B, T]."""
        return self.unet(x_t, t, self.text_encoder(input_ids)[0]).sample


def train_teacher(
    work: Path, latents: torch.Tensor, captions: Captions, tokenizer, recipe: EmojiRecipe, workers: Workers
) -> Teacher:
    """Train, or finish training; `latents` float32 [V, N, C, h, w] on the device."""
    torch.manual_seed(recipe.seed)
    schedule = Schedule(teacher_scheduler(), workers.device)
    model = TextToVelocity(new_unet(recipe), new_text_encoder(recipe, tokenizer))
    wrapped = workers.module(model)
    average, optimizer = Average(model, recipe.teacher_average), adamw(model, recipe.teacher_lr)
    parts = {"model": model, "average": average, "optimizer": optimizer}
    training = Training(work, "teacher", recipe.teacher_steps, parts, recipe.seed + 3, workers)
    (poses, pictures), shape = latents.shape[:2], latents.shape[2:]
    batch = recipe.teacher_batch

    def step(i: int, generator: torch.Generator) -> Losses:
        cosine_lr(optimizer, i, recipe.teacher_steps, recipe.teacher_lr, warmup=min(500, recipe.teacher_steps // 10))
        chosen = torch.randint(pictures, (batch,), generator=generator)
        caption = captions.draw(chosen, recipe.unstyled_text, recipe.null_text, generator)
        pose = torch.randint(poses, (batch,), generator=generator)
        t = torch.randint(schedule.steps, (batch,), generator=generator)
        chosen, pose, t, input_ids = workers.share(chosen, pose, t, captions.ids[caption])
        noise = workers.noise((batch, *shape), generator)
        with workers.autocast():
            loss = denoising_loss(latents[pose, chosen], input_ids, wrapped, schedule, t=t, noise=noise)
        norm = workers.update(loss, model, optimizer)
        average.update()
        return {"loss": loss, "norm": norm}

    run(training, step)
    best = average.module
    return Teacher(best.unet, best.text_encoder, tokenizer, teacher_scheduler()).to(workers.device)
