"""The one-step generator: G(z, c) = x0 of the network at one t (DMD, section 3.1)."""

from collections.abc import Callable

import torch

from edgestep.distill.diffusion import Denoiser, Schedule

OneStepGenerator = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""(noise [B, C, h, w], prompt_embeds [B, T, D]) -> x0 float32 [B, C, h, w]."""


class Predict(torch.nn.Module):
    """A UNet as a module of tensors: (x_t, t, prompt_embeds) -> its prediction."""

    def __init__(self, unet: torch.nn.Module):
        super().__init__()
        self.unet = unet

    def forward(self, x_t: torch.Tensor, t: torch.Tensor, prompt_embeds: torch.Tensor) -> torch.Tensor:
        """Return eps or v [B, C, h, w]."""
        return self.unet(x_t, t, prompt_embeds).sample


def generator_of(denoiser: Denoiser, schedule: Schedule, conditioning_t: int = 999) -> OneStepGenerator:
    """Return G(z, prompt_embeds): the noise stands for x_t at `conditioning_t` (DMD2's SDXL takes 399, others 999)."""

    def draw(noise: torch.Tensor, prompt_embeds: torch.Tensor) -> torch.Tensor:
        t = torch.full((len(noise),), conditioning_t, device=noise.device)
        return schedule.x0(noise, denoiser(noise, t, prompt_embeds), t)

    return draw


def steps_generator(denoiser: Denoiser, schedule: Schedule, times: tuple[int, ...]):
    """Return draw(noise, prompt_embeds, steps=1, later_noise=()) -> x0, for a student of up to len(times) steps.

    Step k noises the x0 of step k - 1 again, to times[k], with later_noise[k - 1] (DMD2's backward simulation, section
    4.5); only the last step carries a gradient.
    """
    generators = [generator_of(denoiser, schedule, t) for t in times]

    def draw(noise: torch.Tensor, prompt_embeds: torch.Tensor, steps: int = 1, later_noise=()) -> torch.Tensor:
        x_t = noise
        for k in range(1, steps):
            with torch.no_grad():
                x0 = generators[k - 1](x_t, prompt_embeds)
            t = torch.full((len(noise),), times[k], device=noise.device)
            x_t = schedule.noised(x0, later_noise[k - 1], t)
        return generators[steps - 1](x_t, prompt_embeds)

    return draw
