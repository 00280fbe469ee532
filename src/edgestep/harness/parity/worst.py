"""One value per case -> GateResult: the worst decides, beside it the median, its interval, and every failed case."""

import math
from collections.abc import Sequence

import numpy as np

from edgestep.harness.parity.gates import Gate
from edgestep.harness.results import CaseFigure, GateResult
from edgestep.harness.statistics import median_interval


def result_from_values(gate: Gate, values: Sequence[float], names: Sequence[str], reason: str = "") -> GateResult:
    """Return the gate's result over one or more cases; a NaN is the worst of all, and fails."""
    worst = max(range(len(values)), key=lambda i: _badness(gate, values[i]))
    known = not any(math.isnan(value) for value in values)
    return GateResult(
        measure=gate.measure,
        worst=float(values[worst]),
        limit=gate.limit,
        case=names[worst],
        passed=gate.passes(values[worst]),
        reason=reason,
        median=float(np.median(values)) if known else math.nan,
        interval=median_interval(values) if known else (math.nan, math.nan),
        count=len(values),
        failures=tuple(CaseFigure(n, float(v)) for n, v in zip(names, values, strict=True) if not gate.passes(v)),
        scheme_limit=gate.scheme_limit,
    )


def _badness(gate: Gate, value: float) -> float:
    """NaN before all, else the farthest out on the gate's scale, else the smallest."""
    if math.isnan(value):
        return math.inf
    if gate.low is not None and gate.high is not None:
        return abs(value - (gate.low + gate.high) / 2)
    return value if gate.high is not None else -value
