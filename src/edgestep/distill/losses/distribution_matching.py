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
    generator: torch.Generator,
) -> torch.Tensor:
    """Return 0.5 mse(x, stopgrad(x - grad)), grad = (mu_fake - mu_real) / mean|x - mu_real|.

    `x` [B, C, h, w] is what the generator drew, the only tensor that gradients reach. `real` is the guided teacher,
    `fake` the score of the generator's own pictures, without guidance. t ~ U{0.02 T .. 0.98 T}.
    """
    low, high = int(T_MIN * schedule.steps), int(T_MAX * schedule.steps)
    t = torch.randint(low, high, (len(x),), generator=generator)
    with torch.no_grad():
        x_t = schedule.noised(x, torch.randn(x.shape, generator=generator), t)
        mu_real = schedule.x0_from_velocity(x_t, real(x_t, t, prompt_embeds), t)
        mu_fake = schedule.x0_from_velocity(x_t, fake(x_t, t, prompt_embeds), t)
        weight = (x - mu_real).abs().mean((1, 2, 3), keepdim=True) + 1e-6
        target = x - (mu_fake - mu_real) / weight
    return 0.5 * F.mse_loss(x, target)


def fake_loss(
    x: torch.Tensor, prompt_embeds: torch.Tensor, fake: Denoiser, schedule: Schedule, generator: torch.Generator
) -> torch.Tensor:
    """Return the denoising loss that keeps `fake` the score of what the generator draws now (DMD, eq. 6; every t).

    In v: mse(v_fake(x_t, t), a n - s x). `x` carries no gradient.
    """
    t = torch.randint(schedule.steps, (len(x),), generator=generator)
    noise = torch.randn(x.shape, generator=generator)
    v = fake(schedule.noised(x, noise, t), t, prompt_embeds)
    return F.mse_loss(v, schedule.velocity(x, noise, t))
