"""The noise schedule and the formulas between x0, v, noise and x_t; DDIM sampling with guidance.

a = sqrt(abar_t), s = sqrt(1 - abar_t); x_t = a x0 + s n; v = a n - s x0 (Salimans and Ho 2022, eq. 11).
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from diffusers import DDIMScheduler

from edgestep.artifact import BadInput

Denoiser = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
"""(x_t [B, C, h, w], t [B] int64, prompt_embeds [B, T, D]) -> eps or v [B, C, h, w]."""


PREDICTIONS = ("epsilon", "v_prediction")


class Schedule:
    """a and s for every t in 0 .. T - 1, from a scheduler's betas, and what its network predicts."""

    def __init__(self, scheduler: Any, device: torch.device | str = "cpu"):
        prediction = scheduler.config.prediction_type
        if prediction not in PREDICTIONS:
            raise BadInput(
                f"got a teacher with prediction_type {prediction!r}; expected {' or '.join(PREDICTIONS)}; "
                "take a teacher that predicts one of these"
            )
        alpha_bar = scheduler.alphas_cumprod.to(device)
        self.a = alpha_bar.sqrt()
        self.s = (1 - alpha_bar).sqrt()
        self.steps = len(alpha_bar)
        self.prediction = prediction

    def at(self, t: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return (a, s) for t [B], each [B, 1, 1, 1]."""
        return self.a[t].view(-1, 1, 1, 1), self.s[t].view(-1, 1, 1, 1)

    def noised(self, x0: torch.Tensor, noise: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        """Return x_t."""
        a, s = self.at(t)
        return a * x0 + s * noise

    def target(self, x0: torch.Tensor, noise: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        """Return what the network is trained on: the noise, or v."""
        if self.prediction == "epsilon":
            return noise
        a, s = self.at(t)
        return a * noise - s * x0

    def x0(self, x_t: torch.Tensor, predicted: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        """Return x0 = (x_t - s eps) / a, or a x_t - s v, in float32."""
        a, s = self.at(t)
        if self.prediction == "epsilon":
            return (x_t - s * predicted.float()) / a
        return a * x_t - s * predicted.float()


def guided(denoiser: Denoiser, null: torch.Tensor, scale: float) -> Denoiser:
    """Classifier-free guidance: F_null + scale (F_cond - F_null), both in one batch. `null` is [1, T, D]."""

    def call(x_t: torch.Tensor, t: torch.Tensor, prompt_embeds: torch.Tensor) -> torch.Tensor:
        both = torch.cat([null.expand_as(prompt_embeds), prompt_embeds])
        without, with_prompt = denoiser(torch.cat([x_t, x_t]), torch.cat([t, t]), both).chunk(2)
        return without + scale * (with_prompt - without)

    return call


@torch.no_grad()
def sample_ddim(
    denoiser: Denoiser, scheduler: DDIMScheduler, noise: torch.Tensor, prompt_embeds: torch.Tensor, steps: int
) -> torch.Tensor:
    """Follow the deterministic DDIM path (eta 0) from `noise` [B, C, h, w] to x0 in `steps` network calls."""
    scheduler.set_timesteps(steps)
    x = noise
    for t in scheduler.timesteps:
        there = t.to(x.device).expand(len(x))
        x = scheduler.step(denoiser(x, there, prompt_embeds).float(), t, x).prev_sample
    return x


def batches(count: int, size: int) -> Iterator[slice]:
    """Yield slices that cover range(count), `size` at a time."""
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))
