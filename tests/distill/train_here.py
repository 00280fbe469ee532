"""`train()` with every step's losses seen; run as a module by tests that need processes of their own."""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any
from unittest.mock import patch

from edgestep.distill import loop, matching, pairs, regression
from edgestep.distill.config import Config
from edgestep.distill.train import config_from_json, train
from edgestep.distill.workers import Workers

Losses = dict[str, list[dict[str, float]]]


def losses_of_training(
    teacher: Path,
    data: Path,
    folder: Path,
    config: Config,
    workers: Workers,
    dies: tuple[int, int] | None = None,
    stage: str = "matching",
) -> Losses:
    """Train in `folder`; return each stage's losses by step.

    `dies` is (step of `stage`, rank of the process that is killed there); the state is saved after every step then.
    """
    losses: Losses = {}
    plain = loop.run

    def run(training: Any, step: Any) -> None:
        def seen(i: int, generator: Any) -> Any:
            if dies == (i, workers.rank) and training.name == stage:
                os.kill(os.getpid(), signal.SIGKILL)
            found = step(i, generator)
            losses.setdefault(training.name, []).append(workers.mean(found))
            return found

        plain(training, seen)

    with (
        patch.object(pairs, "BLOCK", 8),
        patch.object(loop, "SAVE_SECONDS", 0 if dies else 1000),
        patch.object(matching, "run", run),
        patch.object(regression, "run", run),
    ):
        train(teacher, data, folder / "work", folder / "out", config, workers, look=lambda *_: None)
    return losses


def main() -> None:
    """Read {"teacher", "data", "dies", "jobs": {folder: config}}; rank 0 writes folder/losses.json."""
    told = json.loads(Path(sys.argv[1]).read_text())
    workers = Workers.of(cpu=True)
    for folder, config in told["jobs"].items():
        wanted = config_from_json(Path(config))
        dies = tuple(told["dies"]) if told["dies"] else None
        losses = losses_of_training(Path(told["teacher"]), Path(told["data"]), Path(folder), wanted, workers, dies)
        if workers.is_main:
            (Path(folder) / "losses.json").write_text(json.dumps(losses))


if __name__ == "__main__":
    main()
