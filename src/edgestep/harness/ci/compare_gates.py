"""The gates of one artifact, before and after: a limit crossed, a limit loosened, or room to the limit lost.

Room is how far a figure stands inside its limit, below 0 outside. Only what is near the limit counts: decibels more
than `AMPLE_DB` above it are taken as `AMPLE_DB`, so that 113 dB become 108 dB against a limit of 80 is no news.
"""

import math
import re

from edgestep.harness.ci.comparison import GATES, Change, Found, joined
from edgestep.harness.figures import limit_text, measure_text
from edgestep.harness.results import GateResult, ParityResult

AMPLE_DB = 20.0
"""An error of a tenth of what the gate allows."""
SMALLEST_DB, SMALLEST = 0.05, 0.0005
"""Moves smaller than this, which a report rounds away, are none, in dB and in shares."""


def compare_gates(name: str, old: ParityResult | None, new: ParityResult | None, margin: float) -> Found:
    """Compare every gate of `old`; a measure that is no longer taken is worse.

    Where neither or one of the two was asked for, or `old` has no gates, there is nothing to compare: the verdict
    tells the rest.
    """
    if old is None or new is None or not old.gates:
        return Found()
    if not new.gates:
        gone = Change(name, GATES, f"{len(old.gates)} measures", "none", new.reason)
        return Found(worse=(gone,))
    after = {gate.measure: gate for gate in new.gates}
    return joined([_compare(name, gate, after.get(gate.measure), margin) for gate in old.gates])


def _compare(name: str, old: GateResult, new: GateResult | None, margin: float) -> Found:
    if new is None:
        return Found(worse=(Change(name, old.measure, _figure(old), "not measured", "", old.worst),))
    if _loosened(old.limit, new.limit):
        reason = f"limit loosened from {limit_text(old.limit)} to {limit_text(new.limit)}"
        return Found(worse=(_change(name, old, new, reason),))
    if old.passed != new.passed:
        return _compare_passed(name, old, new)
    return _compare_room(name, old, new, margin)


def _compare_passed(name: str, old: GateResult, new: GateResult) -> Found:
    limit = limit_text(new.limit)
    if new.passed is True:
        return Found(better=(_change(name, old, new, f"within its limit {limit}"),))
    if new.passed is False:
        where = f" in {new.case}" if new.case else ""
        return Found(worse=(_change(name, old, new, f"outside its limit {limit}{where}{_because(new)}"),))
    if old.passed is True:
        return Found(worse=(_change(name, old, new, f"no longer decided{_because(new)}"),))
    return Found()


def _compare_room(name: str, old: GateResult, new: GateResult, margin: float) -> Found:
    """Both passed, or both did not: judge how far the worst case moved, against the new limit."""
    before, after = room_of(old, new.limit), room_of(new, new.limit)
    if before is None or after is None or math.isnan(before):
        return Found()
    if math.isnan(after):
        return Found(worse=(_change(name, old, new, _because(new).removeprefix(": ")),))
    smallest = SMALLEST_DB if old.measure.endswith("_db") else SMALLEST
    if abs(after - before) <= max(margin * abs(before), smallest):
        return Found()
    limit = limit_text(new.limit)
    if after < before:
        lost = f"lost {(before - after) / before:.0%} of its room to {limit}" if before > 0 else f"farther from {limit}"
        return Found(worse=(_change(name, old, new, f"{lost}, worst in {new.case}" if new.case else lost),))
    return Found(better=(_change(name, old, new, f"more room to {limit}"),))


def room_of(gate: GateResult, limit: str) -> float | None:
    """Return how far inside `limit` the worst figure is, below 0 outside, NaN without one; None without a limit."""
    low, high = _ends(limit)
    if math.isinf(low) and math.isinf(high):
        return None
    if math.isnan(gate.worst):
        return math.nan
    room = min(gate.worst - low, high - gate.worst)
    return min(room, AMPLE_DB) if gate.measure.endswith("_db") else room


def _loosened(old: str, new: str) -> bool:
    (old_low, old_high), (new_low, new_high) = _ends(old), _ends(new)
    return new_low < old_low or new_high > old_high


def _ends(limit: str) -> tuple[float, float]:
    """Return ">= 40" as (40, inf), "<= 2" as (-inf, 2), "0.9 .. 1.1" as (0.9, 1.1), "0 cases" as (-inf, 0)."""
    numbers = [float(number) for number in re.findall(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?", limit)]
    if len(numbers) == 2:
        return numbers[0], numbers[1]
    if not numbers:
        return -math.inf, math.inf
    return (numbers[0], math.inf) if limit.startswith(">=") else (-math.inf, numbers[0])


def _change(name: str, old: GateResult, new: GateResult, reason: str) -> Change:
    return Change(name, old.measure, _figure(old), _figure(new), reason, old.worst, new.worst)


def _figure(gate: GateResult) -> str:
    return measure_text(gate.measure, gate.worst, gate.limit)


def _because(gate: GateResult) -> str:
    return f": {gate.reason}" if gate.reason else ""
