"""Teacher -> (noise, input_ids, x0) pairs along its deterministic path: what the regression loss is taught with.

Written in blocks, so that a killed run loses a block at the most; the processes share the blocks out.
"""

import os
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from edgestep.distill.config import Config
from edgestep.distill.data.batches import batch_index
from edgestep.distill.diffusion import Denoiser, batches, sample_ddim
from edgestep.distill.progress import track
from edgestep.distill.teacher import Teacher
from edgestep.distill.workers import Workers

BLOCK = 512
SEED = 500_000
"""Set apart from the seeds of the training's steps."""


@dataclass(frozen=True)
class Pairs:
    """noise float32 [P, C, h, w], input_ids int64 [P, T], x0 float32 [P, C, h, w]."""

    noise: torch.Tensor
    input_ids: torch.Tensor
    x0: torch.Tensor

    def draw(self, count: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return (noise, input_ids, x0) of `count` random pairs."""
        chosen = torch.randint(len(self.noise), (count,), generator=generator)
        return self.noise[chosen], self.input_ids[chosen], self.x0[chosen]


def draw_pairs(work: Path, teacher: Teacher, data, config: Config, workers: Workers) -> Pairs:
    """Draw the blocks that are not in `work`/pairs yet; return all pairs.

    `data` (`data.shards.LatentData`) gives the prompts and the latents' shape.
    """
    folder = work / "pairs"
    folder.mkdir(parents=True, exist_ok=True)
    count = -(-config.pairs // BLOCK)
    real = teacher.real(config.guidance, workers)
    # by number, not by place in the list of missing ones: another process may finish a block while this one looks
    missing = [i for i in range(workers.rank, count, workers.count) if not _file(folder, i).exists()]
    for i in track(missing, "drawing teacher pairs") if workers.is_main else missing:
        generator = torch.Generator().manual_seed(config.seed * 1_000_003 + SEED + i)
        rows = batch_index(len(data), BLOCK, i, config.seed + 1)
        noise = torch.randn((BLOCK, *data.latent_shape), generator=generator)
        _, ids = data.take(rows)
        x0 = torch.cat(
            [_followed(real, teacher, noise[part], ids[part], config) for part in batches(BLOCK, config.batch)]
        )
        aside = _file(folder, i).with_suffix(f".{os.getpid()}")
        save_file({"noise": noise, "input_ids": ids, "x0": x0}, aside)
        os.replace(aside, _file(folder, i))
    workers.wait()
    blocks = [load_file(_file(folder, i)) for i in range(count)]
    whole = (torch.cat([block[name] for block in blocks]) for name in ("noise", "input_ids", "x0"))
    return Pairs(*(rows[: config.pairs] for rows in whole))


def _followed(real: Denoiser, teacher: Teacher, noise: torch.Tensor, ids: torch.Tensor, config: Config) -> torch.Tensor:
    """Follow the teacher's path for one batch: a block of a large teacher's latents would not fit the memory."""
    there = noise.to(teacher.device)
    return sample_ddim(real, teacher.scheduler, there, teacher.embeds(ids), config.pair_steps).cpu()


def _file(folder: Path, i: int) -> Path:
    return folder / f"{i:05d}.safetensors"
