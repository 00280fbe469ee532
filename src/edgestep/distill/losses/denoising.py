"""The denoising loss (Ho et al. 2020, eq. 14; Salimans and Ho 2022 for v): what makes a network a score.

The teacher is trained with it on data; the fake score on what the generator draws now (DMD, eq. 6).
"""

import torch
from torch.nn import functional as F

from edgestep.distill.diffusion import Denoiser, Schedule


def denoising_loss(
    x: torch.Tensor,
    prompt_embeds: torch.Tensor,
    denoiser: Denoiser,
    schedule: Schedule,
    *,
    t: torch.Tensor,
    noise: torch.Tensor,
) -> torch.Tensor:
    """Return mse(F(x_t, t), eps or v). `x`, `noise` float32 [B, C, h, w] without gradient; `t` int64 [B], every t."""
    predicted = denoiser(schedule.noised(x, noise, t), t, prompt_embeds)
    return F.mse_loss(predicted.float(), schedule.target(x, noise, t))
