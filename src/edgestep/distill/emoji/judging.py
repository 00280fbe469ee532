"""The judge and the wordings that emoji generators are measured with, and the curve of the measures over a training."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL

from edgestep.distill.evaluation.accuracy import hits
from edgestep.distill.evaluation.classifier import PictureClassifier
from edgestep.distill.evaluation.diversity import spread_of_prompts
from edgestep.distill.evaluation.drawing import Judged, draw_latents, judge_latents
from edgestep.distill.evaluation.frechet import frechet_distance
from edgestep.distill.evaluation.grid import save_grid, to_uint8
from edgestep.distill.evaluation.precision_recall import precision_recall
from edgestep.distill.evaluation.prompts import Prompts, noise_of
from edgestep.distill.evaluation.real import judge_real
from edgestep.distill.evaluation.sizes import Sizes
from edgestep.distill.evaluation.ways import Way, one_step_way
from edgestep.distill.evaluation.wordings import wordings_of
from edgestep.distill.teacher import Teacher

SHOWN = ("noto pizza", "fluent cat face", "twemoji red heart", "classic rocket", "grinning face", "noto owl")


@dataclass(frozen=True)
class Watch:
    """Measures a network in training: `curve.jsonl` gets a row each time, `grids/` a picture of fixed prompts."""

    work: Path
    out: Path
    parts: Teacher
    vae: AutoencoderKL
    judge: PictureClassifier
    sizes: Sizes
    conditioning_t: int = 999

    def __call__(self, stage: str, unet: Any, done: int) -> None:
        """Draw in one step at `conditioning_t`, judge, write down."""
        way = one_step_way(stage, self.parts, unet, self.vae, self.conditioning_t)
        sizes, wordings = self.sizes, wordings_of(self.work, self.judge.config.concepts)
        prompts = wordings.training.pick(sizes.pictures, sizes.seed + 1)
        noise = noise_of(len(prompts), way.latent_shape, sizes.seed + 5)
        drawn = self._judged(way, prompts, noise)
        few = wordings.training.pick(sizes.diversity_prompts, sizes.seed + 3).repeated(sizes.diversity_seeds)
        noise = noise_of(len(few), way.latent_shape, sizes.seed + 4)
        diverse = self._judged(way, few, noise).features
        real = self._real
        spread = spread_of_prompts(diverse.reshape(sizes.diversity_prompts, sizes.diversity_seeds, -1))
        row = {
            "stage": stage,
            "step": done,
            "frechet": frechet_distance(real.features, drawn.features),
            "top1": hits(drawn.ranks, 1).mean(),
            "top5": hits(drawn.ranks, 5).mean(),
            "recall": precision_recall(real.features, drawn.features)[1].mean(),
            "spread": spread.mean(),
        }
        add_to_curve(self.out / "curve.jsonl", {k: _plain(v) for k, v in row.items()})
        self._grid(way, self.out / "grids" / f"{stage}-{done:06d}.png")

    def _judged(self, way: Way, prompts: Prompts, noise: torch.Tensor) -> Judged:
        x0 = draw_latents(way, prompts, noise, self.sizes.batch, way.name)
        return judge_latents(way, x0, prompts.concepts, self.judge, self.sizes.batch)

    @cached_property
    def _real(self) -> Judged:
        return judge_real(self.work, self.judge, self.sizes.pictures, self.sizes.seed + 100)

    def _grid(self, way: Way, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        columns = {}
        for seed in range(4):
            noise = noise_of(len(SHOWN), way.latent_shape, seed)
            columns[f"seed {seed}"] = to_uint8(way.draw(list(SHOWN), noise))
        save_grid(columns, SHOWN, path)


def add_to_curve(path: Path, row: Mapping[str, Any]) -> None:
    """Append a row of measures to a .jsonl; one of the same stage and step, from before a run was killed, gives way."""
    lines = path.read_text().splitlines() if path.exists() else []
    rows = [old for old in map(json.loads, lines) if (old["stage"], old["step"]) != (row["stage"], row["step"])]
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    aside.write_text("".join(json.dumps(each) + "\n" for each in (*rows, row)))
    os.replace(aside, path)


def _plain(value: Any) -> Any:
    return round(float(value), 5) if isinstance(value, np.floating | float) else value
