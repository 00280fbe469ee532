"""What `edgestep compare` found between two results: the values, and the margins that decided."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from edgestep.harness.results import Schema

COMPARISON_SCHEMA = "edgestep.comparison"
COMPARISON_VERSION = 1

ARTIFACT, PARITY, GATES, LATENCY, SIZE = "artifact", "parity", "gates", "p50_s", "bytes"
"""What can change beside a measure of gates.py."""


@dataclass(frozen=True)
class Margins:
    """What is still called equal. Every margin is a share, 0 or more: 0.1 is 10 %.

    `gate`: of the room between a figure and its limit, what it may lose while it still passes. `latency`: how much
    longer the median may take, even where the intervals are disjoint: what changes between processes is not in them.
    `size`: how many more bytes an artifact may have.
    """

    gate: float = 0.25
    latency: float = 0.10
    size: float = 0.01


@dataclass(frozen=True)
class Change:
    """One figure of one artifact, before and after, as text and as numbers (NaN where it is not a number).

    `what` is "artifact", "parity", "gates", a gate's measure, "p50_s" (seconds) or "bytes". `reason` says what
    decided, in words.
    """

    artifact: str
    what: str
    old: str
    new: str
    reason: str = ""
    old_value: float = math.nan
    new_value: float = math.nan


@dataclass(frozen=True)
class Note:
    """What could not be compared, or must be known beside it; `artifact` is "" where it holds for all."""

    artifact: str
    what: str
    reason: str


@dataclass(frozen=True)
class Found:
    """What one comparison of one artifact found."""

    worse: tuple[Change, ...] = ()
    better: tuple[Change, ...] = ()
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True)
class Comparison:
    """Two results side by side. `compared` names the artifacts in both; `added` those in the new one alone."""

    worse: tuple[Change, ...] = ()
    better: tuple[Change, ...] = ()
    notes: tuple[Note, ...] = ()
    compared: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
    margins: Margins = field(default_factory=Margins)
    schema: Schema = field(default_factory=lambda: Schema(COMPARISON_SCHEMA, COMPARISON_VERSION))


def joined(found: Sequence[Found]) -> Found:
    """Return all of them as one, in their order."""
    return Found(
        tuple(change for one in found for change in one.worse),
        tuple(change for one in found for change in one.better),
        tuple(note for one in found for note in one.notes),
    )
