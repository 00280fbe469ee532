"""The fake score: a copy of the teacher that follows what the generator draws now, and DMD2's discriminator on it."""

from typing import Any

import torch

from edgestep.distill.config import Config
from edgestep.distill.diffusion import Denoiser, Schedule
from edgestep.distill.generator import Predict
from edgestep.distill.lora import trainable, trained_copy
from edgestep.distill.losses.adversarial import AdversarialHead, ScoreAndHead, discriminator_loss
from edgestep.distill.losses.denoising import denoising_loss
from edgestep.distill.workers import Workers, adamw


class FakeScore:
    """`module` is what is trained and saved; `frozen` its denoiser for the generator's turn."""

    def __init__(self, teacher_unet: Any, schedule: Schedule, config: Config, workers: Workers):
        self.schedule, self.config, self.workers = schedule, config, workers
        unet = trained_copy(teacher_unet, config.lora_rank)
        if config.gradient_checkpointing:
            unet.enable_gradient_checkpointing()
        self.module: torch.nn.Module = Predict(unet)
        if config.adversarial_weight:
            self.module = ScoreAndHead(unet, _new_head(unet.config.block_out_channels[-1], config.seed))
        self._trainable = trainable(self.module)
        self._wrapped = workers.module(self.module)
        alone = workers.count == 1 and not config.adversarial_weight
        self.frozen: Denoiser = self._wrapped if alone else Predict(unet)
        self.optimizer = adamw(self.module, config.fake_lr, betas=(0.0, 0.999))

    def update(
        self, x: torch.Tensor, embeds: torch.Tensor, latents: torch.Tensor, generator: torch.Generator
    ) -> dict[str, torch.Tensor]:
        """Bring it nearer to `x` [B, C, h, w], what the generator drew; every t. `latents` are real ones, as many."""
        t, noise = self._noising(x, generator)
        self._train(True)
        with self.workers.autocast():
            if self.config.adversarial_weight:
                loss, losses = self._with_head(x, embeds, latents, t, noise)
            else:
                loss = denoising_loss(x, embeds, self._wrapped, self.schedule, t=t, noise=noise)
                losses = {"fake": loss.detach()}
        self.workers.update(loss, self.module, self.optimizer, self.config.clip)
        return losses

    def judged(self, x: torch.Tensor, embeds: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Return the discriminator's logits [B] of drawn latents, noised; gradients reach `x` alone."""
        t, noise = self._noising(x, generator)
        self._train(False)
        with self.workers.autocast():
            return self.module(self.schedule.noised(x, noise, t), t, embeds)[1]

    def _with_head(self, x: torch.Tensor, embeds: torch.Tensor, latents: torch.Tensor, t, noise):
        """Drawn and real latents in one forward pass, under the same noise."""
        noised = torch.cat([self.schedule.noised(x, noise, t), self.schedule.noised(latents, noise, t)])
        predicted, logits = self._wrapped(noised, t.repeat(2), embeds.repeat(2, 1, 1))
        drawn, real = logits.chunk(2)
        fake = (predicted.chunk(2)[0].float() - self.schedule.target(x, noise, t)).square().mean()
        discriminator = discriminator_loss(real, drawn)
        loss = fake + self.config.fake_adversarial_weight * discriminator
        return loss, {"fake": fake.detach(), "discriminator": discriminator.detach()}

    def _train(self, wanted: bool) -> None:
        for parameter in self._trainable:
            parameter.requires_grad_(wanted)

    def _noising(self, x: torch.Tensor, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        count = len(x) * self.workers.count
        t = self.workers.share(torch.randint(self.schedule.steps, (count,), generator=generator))
        return t, self.workers.noise((count, *x.shape[1:]), generator)


def _new_head(channels: int, seed: int) -> AdversarialHead:
    """Return the untrained head: the only part that is drawn at random, alike in every run of a seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return AdversarialHead(channels)
