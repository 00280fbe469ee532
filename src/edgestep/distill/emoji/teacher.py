"""Latents + captions -> the teacher: a v-predicting text-conditional diffusion model, and its text encoder.

Both are trained together from nothing; the averages (EMA) are kept.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import UNet2DConditionModel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from transformers import CLIPTextModel

from edgestep.distill.captions import Captions
from edgestep.distill.diffusion import Denoiser, Schedule
from edgestep.distill.loop import Training, cosine_lr, run
from edgestep.distill.networks import new_text_encoder, new_unet, teacher_scheduler
from edgestep.distill.recipe import EmojiRecipe


@dataclass(frozen=True)
class Teacher:
    """The trained networks, and every caption's embeddings float32 [C, T, D]."""

    unet: UNet2DConditionModel
    text_encoder: CLIPTextModel
    prompt_embeds: torch.Tensor


class TextToVelocity(torch.nn.Module):
    """Text encoder and denoiser as one module: one optimizer, one average, one saved state."""

    def __init__(self, unet: UNet2DConditionModel, text_encoder: CLIPTextModel):
        super().__init__()
        self.unet, self.text_encoder = unet, text_encoder

    def forward(self, x_t: torch.Tensor, t: torch.Tensor, input_ids: torch.Tensor) -> torch.Tensor:
        """Return v [B, C, h, w] for x_t [B, C, h, w], t [B], input_ids [B, T]."""
        return self.unet(x_t, t, self.text_encoder(input_ids)[0]).sample


def denoiser_of(unet: UNet2DConditionModel) -> Denoiser:
    """Return the UNet as a plain function of tensors."""
    return lambda x_t, t, prompt_embeds: unet(x_t, t, prompt_embeds).sample


def train_teacher(work: Path, latents: torch.Tensor, captions: Captions, tokenizer, recipe: EmojiRecipe) -> Teacher:
    """Train, or finish training; `latents` float32 [V, N, C, h, w]."""
    torch.manual_seed(recipe.seed)
    schedule = Schedule(teacher_scheduler())
    model = TextToVelocity(new_unet(recipe), new_text_encoder(recipe, tokenizer))
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.998))
    optimizer = torch.optim.AdamW(model.parameters(), lr=recipe.teacher_lr, weight_decay=0.01)
    parts = {"model": model, "average": average, "optimizer": optimizer}
    training = Training(work, "teacher", recipe.teacher_steps, parts, seed=recipe.seed + 3)
    poses, pictures = latents.shape[:2]

    def step(i: int, generator: torch.Generator) -> dict[str, float]:
        cosine_lr(optimizer, i, recipe.teacher_steps, recipe.teacher_lr, warmup=200)
        chosen = torch.randint(pictures, (recipe.teacher_batch,), generator=generator)
        pose = torch.randint(poses, (recipe.teacher_batch,), generator=generator)
        x0 = latents[pose, chosen]
        noise = torch.randn(x0.shape, generator=generator)
        t = torch.randint(schedule.steps, (len(x0),), generator=generator)
        input_ids = captions.ids[captions.draw(chosen, recipe, generator)]
        v = model(schedule.noised(x0, noise, t), t, input_ids)
        loss = (v - schedule.velocity(x0, noise, t)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        average.update_parameters(model)
        return {"loss": loss.item(), "norm": norm.item()}

    run(training, step)
    best = average.module.eval().requires_grad_(False)
    with torch.no_grad():
        embeds = torch.cat([best.text_encoder(ids)[0] for ids in captions.ids.split(256)])
    return Teacher(best.unet, best.text_encoder, embeds)
