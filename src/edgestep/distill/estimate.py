"""A few real steps -> how long the training will take, and in how much memory: what to know before it begins."""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from edgestep.distill.loop import Step, generator_of_step
from edgestep.distill.workers import Workers

WARM_UP, TIMED = 2, 5


@dataclass(frozen=True)
class Estimate:
    """Peak memory of this process in bytes, on a GPU the GPU's; seconds; the device in words."""

    memory_bytes: int
    seconds_per_step: float
    steps: int
    device: str

    @property
    def total_seconds(self) -> float:
        """Seconds for all steps."""
        return self.seconds_per_step * self.steps

    def __str__(self) -> str:
        memory = f"{self.memory_bytes / 2**30:.2f} GiB"
        step = f"{self.seconds_per_step:.3g} s a step"
        return f"estimate: {memory}, {step}, {_spoken(self.total_seconds)} for {self.steps} steps on {self.device}"


def estimate(
    step: Step,
    steps: int,
    workers: Workers,
    *,
    seed: int = 0,
    clock: Callable[[], float] = time.perf_counter,
) -> Estimate:
    """Take 2 steps to warm up and 5 timed ones; the caller puts the trained parts back as they were.

    The time is the mean, not the median: what a step does only now and then is part of the training too. Every step
    is waited for, so that a GPU's queue does not hide its work.
    """
    if workers.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(workers.device)
    for i in range(WARM_UP):
        step(i, generator_of_step(seed, i))
    _wait(workers.device)
    start = clock()
    for i in range(WARM_UP, WARM_UP + TIMED):
        step(i, generator_of_step(seed, i))
        _wait(workers.device)
    seconds = (clock() - start) / TIMED
    return Estimate(peak_memory(workers.device), seconds, steps, _named(workers))


def peak_memory(device: torch.device) -> int:
    """Return the most bytes that were in use: of the GPU, or of the process since it began.

    Linux tells the peak of the program that runs (VmHWM); `ru_maxrss`, elsewhere, may be that of a parent.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    status = Path("/proc/self/status")
    if status.is_file():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    try:
        import resource
    except ImportError:  # Windows
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def _named(workers: Workers) -> str:
    device = workers.device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return f"{workers.count} x {name}" if workers.count > 1 else name


def _spoken(seconds: float) -> str:
    minutes = round(seconds / 60)
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"
