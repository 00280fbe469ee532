"""What quantization asks of a runtime that it is handed: to run a package, look inside, and try other weights."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

import numpy as np

from edgestep.artifact import BadInput

Feed = Mapping[str, np.ndarray]


class Evaluated(Protocol):
    """A loaded .mlpackage, computed in float32."""

    def run(self, feeds: Feed) -> Mapping[str, np.ndarray]:
        """Run once; return every output by name."""
        ...

    def values(self, feeds: Feed, names: Sequence[str]) -> Mapping[str, np.ndarray]:
        """Run once; return float32 values from inside the program by name."""
        ...

    def replace(self, name: str, values: np.ndarray) -> None:
        """Put other numbers in the place of a weight, of the same shape, until the next time."""
        ...


Evaluate = Callable[[Path], AbstractContextManager[Evaluated]]
"""Opens a .mlpackage."""


def required(evaluate: Evaluate | None, scheme: str) -> Evaluate:
    """Return it; raise BadInput where there is none."""
    if evaluate is None:
        raise BadInput(f"got no evaluator for {scheme}; expected one that runs a .mlpackage; use 'edgestep quantize'")
    return evaluate


def noise(reference: Feed, outputs: Feed) -> float:
    """Return sum (ref - out)^2 / sum ref^2, the mean of it over the outputs; inf where one is not finite."""
    ratios = []
    for name, value in reference.items():
        wanted = value.astype(np.float64)
        ratios.append(np.sum((wanted - outputs[name]) ** 2) / max(np.sum(wanted**2), 1e-30))
    mean = float(np.mean(ratios))
    return mean if np.isfinite(mean) else float("inf")


def decibels(ratio: float) -> float:
    """Return SQNR in dB of noise over signal, at most 200."""
    return float(-10 * np.log10(max(ratio, 1e-20)))
