"""What flows between the layers in some drawings -> a range for each value, in which 8 bits round the least.

A range that holds everything gives its steps to one outlier. So what lies in it is counted, and the range is the one,
of several that cut more and more off, with the least squared error of rounding and cutting together.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edgestep.artifact import BadInput
from edgestep.quantize.evaluated import Evaluated, Feed

BINS = 4096
KEPT = (1.0, 0.95, 0.9, 0.85, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3)
"""Parts of the largest range that are tried."""
LEVELS = 256
BATCH_VALUES = 1 << 27
"""Numbers that are held at once: 512 MiB of float32."""


@dataclass(frozen=True)
class Range:
    """low <= 0 <= high: what 8 bits are spread over."""

    low: float
    high: float


def ranges_from_feeds(
    opened: Evaluated, shapes: Mapping[str, Sequence[int]], feeds: Sequence[Feed], *, clip: bool = True
) -> dict[str, Range]:
    """Return name -> range over all feeds; `shapes` has the values to look at. `clip` False holds everything.

    Raises BadInput where a value is not finite.
    """
    found: dict[str, Range] = {}
    for batch in _batches(shapes):
        extremes = _extremes(opened, batch, feeds)
        found |= _clipped(opened, extremes, feeds) if clip else extremes
    return found


def _batches(shapes: Mapping[str, Sequence[int]]) -> list[list[str]]:
    """Part the names so that the values of each part fit in memory together."""
    batches: list[list[str]] = []
    room = 0
    for name, shape in shapes.items():
        size = int(np.prod(shape, dtype=np.int64))
        if not batches or size > room:
            batches.append([])
            room = BATCH_VALUES
        batches[-1].append(name)
        room -= size
    return batches


def _extremes(opened: Evaluated, names: Sequence[str], feeds: Sequence[Feed]) -> dict[str, Range]:
    low, high = dict.fromkeys(names, 0.0), dict.fromkeys(names, 0.0)
    for feed in feeds:
        for name, value in opened.values(feed, names).items():
            if not np.isfinite(value).all():
                raise BadInput(
                    f"got NaN or infinity in {name} while calibrating; expected finite numbers; check the float "
                    "artifact with 'edgestep parity' first"
                )
            low[name], high[name] = min(low[name], float(value.min())), max(high[name], float(value.max()))
    return {name: Range(low[name], high[name]) for name in names}


def _clipped(opened: Evaluated, extremes: Mapping[str, Range], feeds: Sequence[Feed]) -> dict[str, Range]:
    counts = {name: np.zeros(BINS) for name in extremes}
    for feed in feeds:
        for name, value in opened.values(feed, list(extremes)).items():
            whole = extremes[name]
            counts[name] += np.histogram(value, BINS, (whole.low, whole.high) if whole.low < whole.high else (0, 1))[0]
    return {name: range_of_counts(counts[name], whole) for name, whole in extremes.items()}


def range_of_counts(counts: np.ndarray, whole: Range) -> Range:
    """Return the range with the least error: `counts` are of equal bins from whole.low to whole.high."""
    edges = np.linspace(whole.low, whole.high, len(counts) + 1)
    middles = (edges[1:] + edges[:-1]) / 2
    candidates = [Range(whole.low * low, whole.high * high) for low in KEPT for high in KEPT]
    if whole.low == 0 or whole.high == 0:
        candidates = [Range(whole.low * part, whole.high * part) for part in KEPT]
    return min(candidates, key=lambda candidate: _error(counts, middles, candidate))


def _error(counts: np.ndarray, middles: np.ndarray, candidate: Range) -> float:
    """Return the squared error: step^2 / 12 for what lies inside, the distance for what is cut off."""
    step = (candidate.high - candidate.low) / (LEVELS - 1)
    outside = middles - np.clip(middles, candidate.low, candidate.high)
    return float(np.sum(counts * np.where(outside == 0, step**2 / 12, outside**2)))
