"""Rows -> what to take on each target: the fastest that passed, and whether INT8 is faster there at all.

INT8 halves no time by itself: without integer dot products (VNNI and its like) a processor may run it slower than
float. So it is measured against its float counterpart, in one interleaved run, and the report says what came out.
"""

from collections.abc import Sequence

from edgestep.harness.figures import interval_text, size_text, time_text
from edgestep.harness.reporting.summary import Row
from edgestep.harness.results import PASSED, Ratio, Results

ADVICE_TITLE = "What to take"


def advice_from_rows(results: Results, rows: Sequence[Row]) -> tuple[str, ...]:
    """Return one sentence or more for each target, in the order of the table."""
    targets = dict.fromkeys(row.artifact.target for row in rows)
    return tuple(_advice(results, target, [row for row in rows if row.artifact.target == target]) for target in targets)


def _advice(results: Results, target: str, rows: Sequence[Row]) -> str:
    passed = [row for row in rows if row.verdict == PASSED]
    if not passed:
        return f"{target}: nothing passed its gates, so nothing is recommended."
    timed = [row for row in passed if row.latency is not None]
    if not timed:
        least = min(passed, key=lambda row: row.artifact.bytes)
        size = size_text(least.artifact.bytes)
        return f"{target}: no time is claimed without the device; the smallest that passed is {_named(least)}, {size}."
    best = min(timed, key=_seconds)
    taken = f"{target}: take {_named(best)}, {time_text(_seconds(best))} a picture, {size_text(best.artifact.bytes)}."
    return " ".join((taken, *_integer_against_float(results, rows)))


def _seconds(row: Row) -> float:
    return row.latency.p50_s if row.latency is not None else float("inf")


def _integer_against_float(results: Results, rows: Sequence[Row]) -> list[str]:
    """Say of each interleaved ratio between two of the target's rows which of them is faster."""
    by_name = {row.artifact.name: row for row in rows}
    return [
        _compared(by_name[ratio.of], by_name[ratio.over], ratio)
        for ratio in results.ratios
        if ratio.of in by_name and ratio.over in by_name and not ratio.failure
    ]


def _compared(of: Row, over: Row, ratio: Ratio) -> str:
    low, high = ratio.interval
    word = "faster than" if low > 1 else "slower than" if high < 1 else "no faster and no slower than"
    interval = interval_text(ratio.interval)
    figure = f"{ratio.ratio:.2f} times the speed" + (f", 95 % interval {interval}" if interval else "")
    return f"{_named(of)} is {word} {_named(over)} here ({figure})."


def _named(row: Row) -> str:
    return f"{row.artifact.scheme} {row.artifact.layout}"
