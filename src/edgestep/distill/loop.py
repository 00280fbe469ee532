"""A training loop that can be killed: state aside every minute, resumed from where it was, bit for bit.

Randomness comes from a generator seeded with (seed, step), so a resumed run draws what an unbroken one draws.
"""

import json
import math
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from edgestep.artifact import BadInput
from edgestep.distill.progress import Clock, track

SAVE_SECONDS = 90


@dataclass
class Training:
    """What a stage trains: `parts` are modules and optimizers, saved and restored together by name."""

    folder: Path
    name: str
    steps: int
    parts: dict[str, Any]
    seed: int = 0
    done: int = 0
    recent: dict[str, float] = field(default_factory=dict)

    @property
    def state_file(self) -> Path:
        """The file that a killed run is resumed from."""
        return self.folder / f"{self.name}.state.pt"

    def restore(self) -> None:
        """Load the last saved state, if there is one."""
        if not self.state_file.exists():
            return
        state = torch.load(self.state_file, weights_only=True, map_location="cpu")
        for name, part in self.parts.items():
            try:
                part.load_state_dict(state["parts"][name])
            except (KeyError, RuntimeError, ValueError) as error:
                raise BadInput(
                    f"got {self.state_file} of another config ({str(error).splitlines()[0]}); "
                    "expected the state of this recipe; use another --work folder, or remove the file"
                ) from error
        self.done = state["done"]

    def save(self) -> None:
        """Write the state aside, then put it in place in one move."""
        self.folder.mkdir(parents=True, exist_ok=True)
        aside = self.state_file.with_suffix(".tmp")
        torch.save({"done": self.done, "parts": {k: p.state_dict() for k, p in self.parts.items()}}, aside)
        os.replace(aside, self.state_file)


def run(training: Training, step: Callable[[int, torch.Generator], dict[str, float]]) -> None:
    """Call `step(i, generator)` for every step that is left; it returns the losses to log."""
    training.restore()
    if training.done >= training.steps:
        return
    save, log = Clock(SAVE_SECONDS), Clock(10)
    journal = training.folder / f"{training.name}.log.jsonl"
    training.folder.mkdir(parents=True, exist_ok=True)
    left = range(training.done, training.steps)
    for i in track(left, f"{training.name} from {training.done}" if training.done else training.name):
        losses = step(i, torch.Generator().manual_seed(training.seed * 1_000_003 + i))
        _refuse_nan(training, i, losses)
        training.done = i + 1
        _smooth(training.recent, losses)
        if log.due():
            _write_row(journal, i, training.recent)
        if save.due():
            training.save()
    training.save()


def _write_row(journal: Path, step: int, recent: dict[str, float]) -> None:
    with journal.open("a") as out:
        out.write(json.dumps({"step": step, **{k: round(v, 6) for k, v in recent.items()}}) + "\n")


def cosine_lr(optimizer: torch.optim.Optimizer, step: int, steps: int, lr: float, warmup: int = 100) -> None:
    """Set the learning rate: linear warm-up, then half a cosine down to 2 % of `lr`."""
    if step < warmup:
        now = lr * (step + 1) / warmup
    else:
        now = lr * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup))))
    for group in optimizer.param_groups:
        group["lr"] = now


def _smooth(recent: dict[str, float], losses: dict[str, float]) -> None:
    for name, value in losses.items():
        recent[name] = value if name not in recent else 0.95 * recent[name] + 0.05 * value


def _refuse_nan(training: Training, step: int, losses: dict[str, float]) -> None:
    bad = [name for name, value in losses.items() if not math.isfinite(value)]
    if bad:
        raise BadInput(
            f"got a loss that is not finite in {training.name}, step {step}: {', '.join(bad)}; expected finite "
            f"losses; the last good state is kept in {training.state_file}: lower the learning rate and resume"
        )
