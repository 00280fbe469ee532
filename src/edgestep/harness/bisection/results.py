"""What bisection found, as frozen dataclasses: what `--json FILE` holds."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from edgestep.artifact import OneStep
from edgestep.harness.machine import Machine
from edgestep.harness.results import Schema

BISECT_SCHEMA, BISECT_VERSION = "edgestep.bisect", 1


def nan_first(decibels: float) -> float:
    """Return what sorts NaN before every number: not finite is worse than any error."""
    return -math.inf if math.isnan(decibels) else decibels


@dataclass(frozen=True)
class TapError:
    """One value of the graph against PyTorch, the worst of the cases, in dB; NaN where it is not finite.

    `cumulative_db`: with the artifact's own values before it. `local_db`: with PyTorch's values before it, so that it
    is what this piece does wrong by itself. `module` and `op` are what the piece is called after, `ops` all operators
    that compute in it; `operation` is the graph's own name. `case` is where the local error is worst. `suspect`: the
    local SQNR is below the limit. `quantized`: the piece has quantized values in it.
    """

    component: str
    module: str
    op: str
    operation: str
    ops: tuple[str, ...]
    shape: tuple[int, ...]
    cumulative_db: float
    local_db: float
    case: str
    suspect: bool
    quantized: bool = False


@dataclass(frozen=True)
class Bisected:
    """An artifact's taps in the order in which PyTorch computes them; `limit_db` is below which a piece is suspect.

    `unplaced`: component -> why -> the taps that the graph has no value for. `too_large`: taps that were not recorded.
    """

    limit_db: float
    runtime: str
    taps: tuple[TapError, ...]
    unplaced: Mapping[str, Mapping[str, tuple[str, ...]]] = field(default_factory=dict)
    cases: tuple[str, ...] = ()
    too_large: int = 0
    seconds: float = math.nan

    @property
    def suspects(self) -> tuple[TapError, ...]:
        """Every piece below the limit, in order: the first is the first culprit."""
        return tuple(tap for tap in self.taps if tap.suspect)

    @property
    def ranked(self) -> tuple[TapError, ...]:
        """Every tap, the largest local error first; what is not finite before all."""
        return tuple(sorted(self.taps, key=lambda tap: nan_first(tap.local_db)))


@dataclass(frozen=True)
class BisectedArtifact:
    """One artifact of the report."""

    name: str
    target: str
    scheme: str
    layout: str
    format: str
    bytes: int
    bisect: Bisected


@dataclass(frozen=True)
class BisectReport:
    """The whole file."""

    schema: Schema
    machine: Machine
    tools: Mapping[str, str]
    contract: OneStep
    artifacts: tuple[BisectedArtifact, ...]
