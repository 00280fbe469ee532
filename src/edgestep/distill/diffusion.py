"""The noise schedule and the formulas between x0, v, noise and x_t; DDIM sampling with guidance.

a = sqrt(abar_t), s = sqrt(1 - abar_t); x_t = a x0 + s n; v = a n - s x0 (Salimans and Ho 2022, eq. 11).
"""

from collections.abc import Callable, Iterator

import torch
from diffusers import DDIMScheduler

Denoiser = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
"""(x_t [B, C, h, w], t [B] int64, prompt_embeds [B, T, D]) -> v [B, C, h, w]."""


class Schedule:
    """a and s for every t in 0 .. T - 1, from a scheduler's betas."""

    def __init__(self, scheduler: DDIMScheduler):
        alpha_bar = scheduler.alphas_cumprod
        self.a = alpha_bar.sqrt()
        self.s = (1 - alpha_bar).sqrt()
        self.steps = len(alpha_bar)

    def at(self, t: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return (a, s) for t [B], each [B, 1, 1, 1]."""
        return self.a[t].view(-1, 1, 1, 1), self.s[t].view(-1, 1, 1, 1)

    def noised(self, x0: torch.Tensor, noise: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        """Return x_t."""
        a, s = self.at(t)
        return a * x0 + s * noise

    def velocity(self, x0: torch.Tensor, noise: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        """Return the v that a v-predicting network is trained on."""
        a, s = self.at(t)
        return a * noise - s * x0

    def x0_from_velocity(self, x_t: torch.Tensor, v: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        """Return x0 = a x_t - s v."""
        a, s = self.at(t)
        return a * x_t - s * v


def guided(denoiser: Denoiser, null: torch.Tensor, scale: float) -> Denoiser:
    """Classifier-free guidance: v_null + scale (v_cond - v_null), both in one batch. `null` is [1, T, D]."""

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
        x = scheduler.step(denoiser(x, t.expand(len(x)), prompt_embeds), t, x).prev_sample
    return x


def batches(count: int, size: int) -> Iterator[slice]:
    """Yield slices that cover range(count), `size` at a time."""
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))
