"""Teacher + data -> the one-step generator, by distribution matching.

DMD (Yin et al. 2024a): the matching gradient, with the regression on the teacher's pairs beside it. DMD2 (Yin et al.
2024b): two time scales, no regression, a GAN term, several steps. Which terms there are follows from the config.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from edgestep.distill.average import Average
from edgestep.distill.config import Config
from edgestep.distill.data.batches import batch_index
from edgestep.distill.fake_score import FakeScore
from edgestep.distill.generator import Predict, steps_generator
from edgestep.distill.loop import Losses, Training, cosine_lr, run
from edgestep.distill.lora import merged, trained_copy
from edgestep.distill.losses.adversarial import generator_loss
from edgestep.distill.losses.distribution_matching import draw_matching_t, matching_loss
from edgestep.distill.losses.regression import Regression, regression_of
from edgestep.distill.pairs import Pairs
from edgestep.distill.teacher import Teacher
from edgestep.distill.workers import Workers, adamw


class Matching:
    """One run of distribution matching: the generator, the fake score, and a step of each."""

    def __init__(
        self,
        teacher: Teacher,
        start: torch.nn.Module,
        data: Any,
        pairs: Pairs | None,
        config: Config,
        workers: Workers,
        decode: Callable[[torch.Tensor], torch.Tensor] | None = None,
    ):
        wants_regression = pairs is not None and config.regression_weight > 0
        self.regression: Regression | None = regression_of(config.regression_kind, decode) if wants_regression else None
        self.teacher, self.data, self.pairs, self.config, self.workers = teacher, data, pairs, config, workers
        self.unet = trained_copy(start, config.lora_rank)
        if config.gradient_checkpointing:
            self.unet.enable_gradient_checkpointing()  # type: ignore[operator]  (diffusers' models have it)
        self.schedule = teacher.schedule()
        self.fake = FakeScore(teacher.unet, self.schedule, config, workers)
        times = (config.conditioning_t, *config.later_steps)
        self.draw = steps_generator(workers.module(Predict(self.unet)), self.schedule, times)
        self.real = teacher.real(config.real_guidance or config.guidance, workers)
        self.average = Average(self.unet, config.average)
        # beta1 = 0: generator and fake score chase each other, momentum overshoots
        self.optimizer = adamw(self.unet, config.lr, betas=(0.0, 0.999))

    def parts(self) -> dict[str, Any]:
        """Return what a resumed run needs."""
        own = {"unet": self.unet, "average": self.average, "optimizer": self.optimizer}
        return own | {"fake": self.fake.module, "fake_optimizer": self.fake.optimizer}

    def fresh(self, turn: int, generator: torch.Generator) -> tuple[torch.Tensor, ...]:
        """Return this process's (noise, prompt_embeds, the data's own latents) of the `turn`-th batch of prompts."""
        batch = self.config.batch
        latents, ids = self.data.take(batch_index(len(self.data), batch, turn, self.config.seed))
        noise = self.workers.noise((batch, *self.data.latent_shape), generator)
        latents, ids = self.workers.share(latents, ids)
        return noise, self.teacher.embeds(ids), latents

    def step(self, i: int, generator: torch.Generator) -> Losses:
        """Update the fake score `fake_updates` times, then the generator once."""
        config = self.config
        cosine_lr(self.optimizer, i, config.matching_steps, config.lr, warmup=50)
        turns = config.fake_updates + 1
        losses: dict[str, torch.Tensor | float] = {}
        for turn in range(config.fake_updates):
            noise, embeds, latents = self.fresh(i * turns + turn, generator)
            with torch.no_grad(), self.workers.autocast():
                x = self.draw(noise, embeds, self._steps(generator), self._later_noise(generator))
            losses.update(self.fake.update(x, embeds, latents, generator))
        noise, embeds, _ = self.fresh(i * turns + config.fake_updates, generator)
        return {**losses, **self.update_generator(noise, embeds, generator)}

    def update_generator(self, noise: torch.Tensor, embeds: torch.Tensor, generator: torch.Generator) -> Losses:
        """Take one step along the matching gradient, with the regression's and the GAN's where they have a weight."""
        workers, config = self.workers, self.config
        t = workers.share(draw_matching_t(config.batch, self.schedule, generator))
        again = workers.noise((config.batch, *self.data.latent_shape), generator)
        with workers.autocast():
            x, x_pairs, target = self._draw_with_pairs(noise, embeds, generator)
            matching = matching_loss(x, embeds, self.real, self.fake.frozen, self.schedule, t=t, noise=again)
        loss, losses = config.matching_weight * matching, {"matching": matching.detach(), "spread": x.detach().std()}
        if self.regression is not None:
            regression = self.regression(x_pairs, target)
            loss = loss + config.regression_weight * regression
            losses["regression"] = regression.detach()
        if config.adversarial_weight:
            adversarial = generator_loss(self.fake.judged(x, embeds, generator))
            loss = loss + config.adversarial_weight * adversarial
            losses["adversarial"] = adversarial.detach()
        losses["norm"] = workers.update(loss, self.unet, self.optimizer, config.clip)
        self.average.update()
        return losses

    def _draw_with_pairs(self, noise: torch.Tensor, embeds: torch.Tensor, generator: torch.Generator):
        """One forward pass for both batches: the fresh one, and half as many of the teacher's pairs."""
        if self.pairs is None or self.regression is None:
            return self.draw(noise, embeds, self._steps(generator), self._later_noise(generator)), None, None
        pair_noise, ids, target = self.workers.share(*self.pairs.draw(self.config.batch // 2, generator))
        both = self.draw(torch.cat([noise, pair_noise]), torch.cat([embeds, self.teacher.embeds(ids)]))
        x, x_pairs = both.split([len(noise), len(pair_noise)])
        return x, x_pairs, target

    def _steps(self, generator: torch.Generator) -> int:
        """Which step of the student is trained this time: the same for the whole batch and every process."""
        return int(torch.randint(1 + len(self.config.later_steps), (1,), generator=generator)) + 1

    def _later_noise(self, generator: torch.Generator) -> list[torch.Tensor]:
        shape = (self.config.batch, *self.data.latent_shape)
        return [self.workers.noise(shape, generator) for _ in self.config.later_steps]


def train_matching(
    work: Path,
    teacher: Teacher,
    start: torch.nn.Module,
    data: Any,
    pairs: Pairs | None,
    config: Config,
    workers: Workers,
    look: Callable[[Any, int], None] | None = None,
    decode: Callable[[torch.Tensor], torch.Tensor] | None = None,
) -> Any:
    """Return the averaged one-step generator after `config.matching_steps`, begun from `start`.

    `look(average, steps done)` is called every `config.look_every` steps. `decode` makes pictures of latents for the
    regression kind "lpips".
    """
    matching = Matching(teacher, start, data, pairs, config, workers, decode)
    training = Training(work, "matching", config.matching_steps, matching.parts(), config.seed + 6, workers)
    if look is not None:
        training.look_every, training.look = config.look_every, lambda done: look(matching.average.module, done)
    run(training, matching.step)
    return merged(matching.average.module)
