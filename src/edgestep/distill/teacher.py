"""The teacher: a text-conditional diffusion model in a diffusers folder shaped like Stable Diffusion."""

from dataclasses import dataclass
from typing import Any

import torch

from edgestep.distill.diffusion import Denoiser, Schedule, guided
from edgestep.distill.generator import Predict
from edgestep.distill.workers import Workers


@dataclass(frozen=True)
class Teacher:
    """The networks, frozen, and what goes with them; `scheduler` is the DDIM scheduler that samples it."""

    unet: Any
    text_encoder: Any
    tokenizer: Any
    scheduler: Any

    def to(self, device: torch.device) -> "Teacher":
        """Move the networks to the device, frozen and in evaluation mode."""
        for network in (self.unet, self.text_encoder):
            network.to(device).requires_grad_(False).eval()
        return self

    @property
    def device(self) -> torch.device:
        """Where the networks are."""
        return next(self.unet.parameters()).device

    def schedule(self) -> Schedule:
        """Return a, s and the formulas of what it predicts, on its device."""
        return Schedule(self.scheduler, self.device)

    @torch.no_grad()
    def embeds(self, input_ids: torch.Tensor) -> torch.Tensor:
        """Return prompt_embeds float32 [B, T, D] of int64 [B, T]."""
        return self.text_encoder(input_ids.to(self.device))[0].float()

    def null(self) -> torch.Tensor:
        """Return the empty prompt's embeds [1, T, D]."""
        return self.embeds(self.ids([""]))

    def ids(self, prompts: list[str]) -> torch.Tensor:
        """Tokenize, padded and cut to the text encoder's length: int64 [B, T]."""
        length = self.text_encoder.config.max_position_embeddings
        return self.tokenizer(
            prompts, padding="max_length", truncation=True, max_length=length, return_tensors="pt"
        ).input_ids

    def real(self, guidance: float, workers: Workers | None = None) -> Denoiser:
        """Return the guided denoiser (DMD's real score); with `workers`, as fast as their device can call it."""
        denoiser = Predict(self.unet)
        if workers is not None and workers.count == 1:
            denoiser = workers.module(denoiser)
        return guided(denoiser, self.null(), guidance)
