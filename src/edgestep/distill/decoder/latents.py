"""Generator, data -> the latents of each training step and the VAE's pictures of them.

Latents are drawn fresh, so no picture is learned by heart. Those of several steps are drawn at once: the generator and
the VAE then run on large batches, and a GPU is not kept waiting by the start of small ones. Which latents a step gets
follows from the seed and its number alone, however many processes there are.
"""

import torch

from edgestep.distill.data.batches import batch_index
from edgestep.distill.data.latent_data import LatentData
from edgestep.distill.decoder.recipe import DecoderRecipe
from edgestep.distill.decoder.source import OneStepSource
from edgestep.distill.loop import generator_of_step
from edgestep.distill.workers import Workers

PIXELS_AHEAD = 2**23
"""Latents are drawn ahead for so many pixels at the most: their pictures wait in memory."""
SEED = 700_001
"""Set apart from the seeds of the training's steps."""


class Stream:
    """(step) -> this process's (x0, pictures) of the step's batch, drawn `ahead` steps at once."""

    def __init__(self, source: OneStepSource, data: LatentData | None, recipe: DecoderRecipe, workers: Workers):
        self.source, self.data, self.recipe, self.workers = source, data, recipe, workers
        self.from_data = round(recipe.batch * recipe.data_share) if data is not None else 0
        self.ahead = max(1, min(recipe.ahead, PIXELS_AHEAD // (recipe.batch * source.pixels)))
        self._block: tuple[int, torch.Tensor, torch.Tensor] | None = None

    def __call__(self, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return x0 [B, C, h, w] and the VAE's pictures [B, 3, H, W], float32, on the device."""
        number, place = divmod(step, self.ahead)
        if self._block is None or self._block[0] != number:
            self._block = (number, *self._drawn(number))
        _, x0, pictures = self._block
        return x0[:, place], pictures[:, place]

    def _drawn(self, number: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return x0 [B, ahead, C, h, w] and pictures [B, ahead, 3, H, W] of a block of steps."""
        parts = []
        with self.workers.autocast():
            if self.from_data < self.recipe.batch:
                parts.append(self._generated(number, self.recipe.batch - self.from_data))
            if self.from_data:
                parts.append(self._of_data(number))
            x0 = torch.cat(parts)
            pictures = self.source.pictures(x0.flatten(0, 1))
        return x0, pictures.unflatten(0, x0.shape[:2])

    def _generated(self, number: int, count: int) -> torch.Tensor:
        generator = generator_of_step(self.recipe.seed + SEED, number)
        prompts = torch.randint(len(self.source.input_ids), (count, self.ahead), generator=generator)
        ids = self.workers.share(self.source.input_ids[prompts])
        noise = self.workers.noise((count, self.ahead, *self.source.latent_shape), generator)
        return self.source.draw(noise.flatten(0, 1), ids.flatten(0, 1)).unflatten(0, noise.shape[:2])

    def _of_data(self, number: int) -> torch.Tensor:
        assert self.data is not None
        steps = range(number * self.ahead, (number + 1) * self.ahead)
        count, seed = self.from_data, self.recipe.seed + SEED
        rows = [self.data.take(batch_index(len(self.data), count, step, seed))[0] for step in steps]
        return self.workers.share(torch.stack(rows, 1))
