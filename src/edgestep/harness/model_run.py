"""What one run of a model file gave: the JSON of `edgestep run`."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from edgestep.artifact import TensorSpec
from edgestep.harness.machine import Machine
from edgestep.harness.results import Schema

RUN_SCHEMA, RUN_VERSION = "edgestep.run", 1


@dataclass(frozen=True)
class OutputFigures:
    """One output: its type, shape, the least and greatest of its finite numbers (NaN: it has none), and the others."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    least: float
    greatest: float
    nan: int = 0
    infinite: int = 0


@dataclass(frozen=True)
class OverflowFound:
    """Where a finite number first became infinite in float16: the operation's type and location, and how many did."""

    op: str
    location: str
    count: int


@dataclass(frozen=True)
class ModelRun:
    """One run. `evidence` is "evaluated" where the program was executed on another machine than it is made for.

    `numerics` is "" for a runtime that has no choice of them. `converted` names the inputs whose type was changed:
    `ids: int64 -> int32`.
    """

    machine: Machine
    tools: Mapping[str, str]
    file: str
    runtime: str
    evidence: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[OutputFigures, ...]
    numerics: str = ""
    function: str = ""
    converted: tuple[str, ...] = ()
    overflow: OverflowFound | None = None
    schema: Schema = field(default_factory=lambda: Schema(RUN_SCHEMA, RUN_VERSION))


def figures_of(name: str, array: np.ndarray) -> OutputFigures:
    """Return the figures of one output; a bool counts as 0 and 1."""
    numbers = array.astype(np.float64) if array.dtype.kind in "biuf" else np.zeros(0)
    finite = numbers[np.isfinite(numbers)]
    least, greatest = (float(finite.min()), float(finite.max())) if finite.size else (np.nan, np.nan)
    nan, infinite = int(np.isnan(numbers).sum()), int(np.isinf(numbers).sum())
    return OutputFigures(name, str(array.dtype), array.shape, least, greatest, nan, infinite)


def text_from_figures(figures: OutputFigures) -> str:
    """Return `noise_pred float32 [1, 4, 64, 64], -3.2 to 4.1`, and what is not finite."""
    text = f"{figures.name} {figures.dtype} {list(figures.shape)}"
    if figures.least == figures.least:
        text += f", {figures.least:.6g} to {figures.greatest:.6g}"
    text += f", {figures.nan} NaN" if figures.nan else ""
    return text + (f", {figures.infinite} infinite" if figures.infinite else "")
