"""Every way to draw: the teacher in many steps with guidance, the teacher in one, any number of one-step generators.

All take the same prompts and the same noise. NFE counts one network evaluation on one picture: a guided step is two.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from zlib import crc32

import torch

from edgestep.artifact import BadInput
from edgestep.distill.diffusion import sample_ddim
from edgestep.distill.folders import decoded
from edgestep.distill.generator import Predict, generator_of, steps_generator
from edgestep.distill.teacher import Teacher


@dataclass(frozen=True)
class Way:
    """One way to draw, in its three parts, so that each can be timed.

    `embeds`: prompts -> [B, T, D]; `latents`: (noise [B, C, h, w], embeds) -> x0; `decode`: x0 -> pictures in [-1, 1].
    """

    name: str
    nfe: int
    latent_shape: tuple[int, int, int]
    device: torch.device
    embeds: Callable[[list[str]], torch.Tensor]
    latents: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    decode: Callable[[torch.Tensor], torch.Tensor]

    @torch.no_grad()
    def draw(self, prompts: list[str], noise: torch.Tensor) -> torch.Tensor:
        """Return pictures float32 [B, 3, H, W] in [-1, 1] on the device, for standard normal `noise` [B, C, h, w]."""
        return self.decode(self.latents(noise.to(self.device), self.embeds(prompts)))


def teacher_name(steps: int) -> str:
    """Return what the teacher at `steps` steps is called in tables."""
    return "teacher, 1 step" if steps == 1 else f"teacher, {steps} steps"


def teacher_way(teacher: Teacher, vae: Any, guidance: float, steps: int) -> Way:
    """The teacher's DDIM path in `steps` steps with CFG; in one step, its x0 at t = T - 1, without: an untrained G."""
    if steps == 1:
        return one_step_way(teacher_name(1), teacher, teacher.unet, vae)
    real = teacher.real(guidance)

    def latents(noise: torch.Tensor, embeds: torch.Tensor) -> torch.Tensor:
        return sample_ddim(real, teacher.scheduler, noise, embeds, steps)

    return _way(teacher_name(steps), 2 * steps, teacher, teacher.unet, vae, latents)


def one_step_way(name: str, parts: Teacher, unet: Any, vae: Any, conditioning_t: int | None = None) -> Way:
    """A one-step generator with the text encoder, tokenizer and noise schedule of `parts`; t = T - 1 when not given."""
    schedule = parts.schedule()
    t = schedule.steps - 1 if conditioning_t is None else conditioning_t
    return _way(name, 1, parts, unet, vae, generator_of(Predict(unet), schedule, t))


def steps_way(name: str, parts: Teacher, unet: Any, vae: Any, times: Sequence[int]) -> Way:
    """A student of several steps, at falling `times` (DMD2 section 4.4); one step where there is one time."""
    schedule = parts.schedule()
    if not times or list(times) != sorted(set(times), reverse=True) or not 0 <= times[-1] <= times[0] < schedule.steps:
        raise BadInput(
            f"got timesteps {list(times)}; expected falling ones below {schedule.steps}; write for example 999 749"
        )
    generator = steps_generator(Predict(unet), schedule, tuple(times))

    def latents(noise: torch.Tensor, embeds: torch.Tensor) -> torch.Tensor:
        later = [later_noise(noise, k) for k in range(1, len(times))]
        return generator(noise, embeds, len(times), later)

    return _way(name, len(times), parts, unet, vae, latents)


def later_noise(noise: torch.Tensor, step: int) -> torch.Tensor:
    """Return standard normal noise for a later step: a picture's own, whatever batch it is drawn in."""
    drawn = []
    for picture in noise.cpu():
        generator = torch.Generator().manual_seed(crc32(picture.numpy().tobytes()) + step)
        drawn.append(torch.randn(picture.shape, generator=generator))
    return torch.stack(drawn).to(noise.device)


def _way(name: str, nfe: int, parts: Teacher, unet: Any, vae: Any, latents: Callable) -> Way:
    size = unet.config.sample_size
    height, width = (size, size) if isinstance(size, int) else size
    shape = (unet.config.in_channels, height, width)

    def decode(x0: torch.Tensor) -> torch.Tensor:
        return decoded(vae, x0).clamp(-1, 1)

    def embeds(prompts: list[str]) -> torch.Tensor:
        return parts.embeds(parts.ids(prompts))

    return Way(name, nfe, shape, parts.device, embeds, latents, decode)


def check_ways(ways: Sequence[Way]) -> None:
    """Raise BadInput where two ways share a name, or take noise of different shapes."""
    names = [way.name for way in ways]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise BadInput(f"got two ways to draw called {twice[0]!r}; expected a name each; rename one")
    for way in ways:
        if way.latent_shape != ways[0].latent_shape:
            raise BadInput(
                f"got noise {way.latent_shape} for {way.name!r} and {ways[0].latent_shape} for {ways[0].name!r}; "
                "expected one shape, for the same noise; compare checkpoints of one latent space"
            )
