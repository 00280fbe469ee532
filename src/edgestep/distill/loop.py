"""A training loop that can be killed: state aside every minute, resumed from where it was, bit for bit.

Randomness comes from a generator seeded with (seed, step), so a resumed run draws what an unbroken one draws.
"""

import json
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from edgestep.artifact import BadInput
from edgestep.distill.progress import Clock, track
from edgestep.distill.workers import Workers

SAVE_SECONDS = 90
LOG_SECONDS = 10
CHECK_STEPS = 10
"""On a GPU, losses are looked at once in so many steps: a look waits for the device."""

Losses = Mapping[str, torch.Tensor | float]
Step = Callable[[int, torch.Generator], Losses]


@dataclass
class Training:
    """What a stage trains: `parts` are modules, averages and optimizers, saved and restored together by name."""

    folder: Path
    name: str
    steps: int
    parts: dict[str, Any]
    seed: int = 0
    workers: Workers = field(default_factory=lambda: Workers.of(cpu=True))
    done: int = 0
    recent: dict[str, float] = field(default_factory=dict)
    look_every: int = 0
    look: Callable[[int], None] | None = None
    """Called on the main process after every `look_every` steps, and after the last, with the number of steps done."""

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
        self.recent = dict(state.get("recent", {}))

    def save(self) -> None:
        """Write the state aside, then put it in place in one move; the main process does."""
        if not self.workers.is_main:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        aside = self.state_file.with_suffix(".tmp")
        parts = {name: part.state_dict() for name, part in self.parts.items()}
        torch.save({"done": self.done, "recent": self.recent, "parts": parts}, aside)
        os.replace(aside, self.state_file)

    def look_at_it(self) -> None:
        """Call `look` where it is due."""
        due = self.done == self.steps or (self.look_every > 0 and self.done % self.look_every == 0)
        if due and self.look is not None and self.workers.is_main:
            self.look(self.done)


def generator_of_step(seed: int, step: int) -> torch.Generator:
    """Return the CPU generator that a step draws from: the same in every process and after every resume."""
    return torch.Generator().manual_seed(seed * 1_000_003 + step)


def run(training: Training, step: Step) -> None:
    """Call `step(i, generator)` for every step that is left; it returns the losses to log."""
    training.restore()
    if training.done >= training.steps:
        return
    workers = training.workers
    training.folder.mkdir(parents=True, exist_ok=True)
    save, log = Clock(SAVE_SECONDS), Clock(LOG_SECONDS)
    every = CHECK_STEPS if workers.device.type == "cuda" else 1
    unseen: dict[int, Losses] = {}
    left = range(training.done, training.steps)
    what = f"{training.name} from {training.done}" if training.done else training.name
    for i in track(left, what) if workers.is_main else left:
        unseen[i] = step(i, generator_of_step(training.seed, i))
        training.done = i + 1
        training.look_at_it()
        if len(unseen) < every and training.done < training.steps:
            continue
        _look(training, unseen)
        unseen = {}
        if log.due() and workers.is_main:
            _write_row(training)
        if save.due():
            training.save()
    if workers.is_main:
        _write_row(training)
    training.save()
    workers.wait()


def _look(training: Training, unseen: Mapping[int, Losses]) -> None:
    """Refuse losses that are not finite, before any state with them is saved; smooth and track the others."""
    for step, losses in unseen.items():
        values = training.workers.mean(losses)
        _refuse_nan(training, step, values)
        _smooth(training.recent, values)
        training.workers.accelerator.log({f"{training.name}/{k}": v for k, v in values.items()}, step=step)


def _write_row(training: Training) -> None:
    row = {"step": training.done, **{k: round(v, 6) for k, v in training.recent.items()}}
    with (training.folder / f"{training.name}.log.jsonl").open("a") as out:
        out.write(json.dumps(row) + "\n")


def cosine_lr(optimizer: torch.optim.Optimizer, step: int, steps: int, lr: float, warmup: int = 100) -> None:
    """Set the learning rate: linear warm-up, then half a cosine down to 2 % of `lr`."""
    if step < warmup:
        now = lr * (step + 1) / warmup
    else:
        now = lr * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup))))
    for group in optimizer.param_groups:
        group["lr"] = now


def _smooth(recent: dict[str, float], losses: Mapping[str, float]) -> None:
    for name, value in losses.items():
        recent[name] = value if name not in recent else 0.95 * recent[name] + 0.05 * value


def _refuse_nan(training: Training, step: int, losses: Mapping[str, float]) -> None:
    bad = [name for name, value in losses.items() if not math.isfinite(value)]
    if bad:
        there = training.state_file.exists()
        kept = f"the last good state is kept in {training.state_file}" if there else "no state was saved before it"
        raise BadInput(
            f"got a loss that is not finite in {training.name}, step {step}: {', '.join(bad)}; expected finite "
            f"losses; {kept}: lower the learning rate and resume"
        )
