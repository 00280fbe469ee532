"""What each part of the method is good for: students trained alike, one part left out or changed in each."""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgestep.distill.config import Config
from edgestep.distill.run import Look, distill
from edgestep.distill.teacher import Teacher
from edgestep.distill.workers import Workers


def ablation_configs(student: Config) -> dict[str, Config]:
    """Return a config per variant, from what the bundled student is trained with, each at a fraction of its steps."""
    both = replace(
        student,
        pairs=student.pairs // 4,
        regression_steps=student.regression_steps // 4,
        matching_steps=student.matching_steps // 4,
    )
    return {
        "regression and matching": both,
        "regression only": replace(both, matching_steps=0),
        "matching only": replace(both, regression_steps=0, regression_weight=0.0),
        "no guidance": replace(both, guidance=1.0),
        "t = 399": replace(both, conditioning_t=399),
        "DMD2": replace(both, method="dmd2", regression_weight=0.0, adversarial_weight=1e-3),
    }


def run_ablations(
    work: Path,
    teacher: Teacher,
    data: Any,
    student: Config,
    workers: Workers,
    look: Callable[[str, Config], Look | None],
    seconds: float = float("inf"),
) -> dict[str, tuple[Any, Config]]:
    """Train every variant in a folder of its own; return {name: (UNet, config)}. None is begun after `seconds`."""
    started, trained = time.monotonic(), {}
    for name, config in ablation_configs(student).items():
        if time.monotonic() - started > seconds:
            break
        folder = work / "ablation" / name.replace(" ", "-").replace("=", "")
        trained[name] = distill(folder, teacher, data, config, workers, look(name, config)).unet, config
    return trained
