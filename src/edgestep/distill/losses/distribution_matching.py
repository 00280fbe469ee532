"""The distribution-matching gradient (Yin et al. 2024, DMD, eq. 7 and 8) as a loss."""

import torch
from torch.nn import functional as F

from edgestep.distill.diffusion import Denoiser, Schedule

T_MIN, T_MAX = 0.02, 0.98


def matching_loss(
    x: torch.Tensor,
    prompt_embeds: torch.Tensor,
    real: Denoiser,
    fake: Denoiser,
    schedule: Schedule,
    *,
    t: torch.Tensor,
    noise: torch.Tensor,
) -> torch.Tensor:
    """Return 0.5 mse(x, stopgrad(x - grad)), grad = (mu_fake - mu_real) / mean|x - mu_real|.

    `x` float32 [B, C, h, w] is what the generator drew, the only tensor that gradients reach. `real` is the guided
    teacher, `fake` the score of the generator's own pictures, without guidance. `t` int64 [B] ~ U{0.02 T .. 0.98 T},
    `noise` as `x`.
    """
    with torch.no_grad():
        x_t = schedule.noised(x, noise, t)
        mu_real = schedule.x0(x_t, real(x_t, t, prompt_embeds), t)
        mu_fake = schedule.x0(x_t, fake(x_t, t, prompt_embeds), t)
        weight = (x - mu_real).abs().mean((1, 2, 3), keepdim=True) + 1e-6
        target = x - (mu_fake - mu_real) / weight
    return 0.5 * F.mse_loss(x, target)


def draw_matching_t(count: int, schedule: Schedule, generator: torch.Generator) -> torch.Tensor:
    """Return t int64 [count] ~ U{0.02 T .. 0.98 T}: at the ends the two scores say nothing, or blow up."""
    return torch.randint(int(T_MIN * schedule.steps), int(T_MAX * schedule.steps), (count,), generator=generator)
