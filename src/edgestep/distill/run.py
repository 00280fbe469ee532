"""Teacher + data -> the one-step generator: pairs, warm start, matching, as the config says."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from edgestep.distill.config import Config, check_config
from edgestep.distill.matching import train_matching
from edgestep.distill.pairs import draw_pairs
from edgestep.distill.regression import train_regression
from edgestep.distill.teacher import Teacher
from edgestep.distill.workers import Workers

Look = Callable[[str, Any, int], None]
"""(stage, averaged UNet, steps done)."""


@dataclass(frozen=True)
class Student:
    """The one-step generator, and the regression-only one that it began from (None where there was none)."""

    unet: Any
    regression: Any | None


def distill(
    work: Path,
    teacher: Teacher,
    data: Any,
    config: Config,
    workers: Workers,
    look: Look | None = None,
    decode: Callable[[torch.Tensor], torch.Tensor] | None = None,
) -> Student:
    """Run, or finish, every stage of `config` in `work`; `data` is a `LatentData`.

    `look(stage, averaged UNet, steps done)` is called every `config.look_every` steps. `decode` makes pictures [-1, 1]
    of latents, for the regression kind "lpips".
    """
    check_config(config)
    teacher.to(workers.device)
    wants_pairs = config.regression_steps > 0 or config.regression_weight > 0
    pairs = draw_pairs(work, teacher, data, config, workers) if wants_pairs else None
    regression = None
    if pairs is not None and config.regression_steps:
        regression = train_regression(work, teacher, pairs, config, workers, _of_stage(look, "regression"), decode)
    start = teacher.unet if regression is None else regression
    if not config.matching_steps:
        return Student(start, regression)
    watched = _of_stage(look, "matching")
    return Student(train_matching(work, teacher, start, data, pairs, config, workers, watched, decode), regression)


def _of_stage(look: Look | None, stage: str) -> Callable[[Any, int], None] | None:
    return None if look is None else partial(look, stage)
