"""A histogram of one tensor's values -> the range that its levels are spread over: minmax, percentile, entropy, mse.

A cut range makes the steps finer for most values and clips the largest; minmax clips none. All of them are of one
tensor as a whole and hold 0, which padding needs exactly.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from edgestep.artifact import BadInput

BINS = 2048
KEPT = 0.9999
"""percentile: the share of the values that stays within the range."""
FRACTIONS = np.linspace(1.0, 0.25, 31)
"""entropy and mse: the parts of each side of the range that are tried."""


@dataclass(frozen=True)
class Histogram:
    """`counts` float64 [BINS], of values in equal bins from `low` to `high`; low <= 0 <= high."""

    counts: np.ndarray
    low: float
    high: float

    def with_values(self, values: np.ndarray) -> "Histogram":
        """Return it with these values counted too; what lies outside low..high is not counted."""
        counts, _ = np.histogram(values, BINS, (self.low, self.high))
        return Histogram(self.counts + counts, self.low, self.high)

    @property
    def centres(self) -> np.ndarray:
        """Return the middle of each bin, float64 [BINS]."""
        return self.low + (np.arange(BINS) + 0.5) * (self.high - self.low) / BINS


def empty_histogram(low: float, high: float) -> Histogram:
    """Return one without values; a range that is nothing but 0 becomes -1..1."""
    low, high = min(low, 0.0), max(high, 0.0)
    return Histogram(np.zeros(BINS), *((low, high) if high > low else (-1.0, 1.0)))


def minmax(histogram: Histogram, levels: int) -> tuple[float, float]:
    """Return all of the range."""
    del levels
    return histogram.low, histogram.high


def percentile(histogram: Histogram, levels: int) -> tuple[float, float]:
    """Return the range that leaves out (1 - KEPT) / 2 of the values at each end."""
    del levels
    part = np.cumsum(histogram.counts) / max(histogram.counts.sum(), 1)
    edges = np.linspace(histogram.low, histogram.high, BINS + 1)
    out = (1 - KEPT) / 2
    low = edges[np.searchsorted(part, out, side="right")]
    high = edges[min(np.searchsorted(part, 1 - out, side="left") + 1, BINS)]
    return min(float(low), 0.0), max(float(high), 0.0)


def mse(histogram: Histogram, levels: int) -> tuple[float, float]:
    """Return the range with the least mean squared error: step^2 / 12 inside, the distance to the end outside."""

    def error(low: float, high: float) -> float:
        away = histogram.centres - np.clip(histogram.centres, low, high)
        step = (high - low) / (levels - 1)
        return float(histogram.counts @ np.where(away == 0, step**2 / 12, away**2))

    return _least(histogram, error)


def entropy(histogram: Histogram, levels: int) -> tuple[float, float]:
    """Return the range whose quantized distribution is nearest in Kullback-Leibler divergence (Migacz, 2017).

    What is clipped is counted in the last bin at its end; a level's mass is spread over its bins that are not empty.
    """

    def divergence(low: float, high: float) -> float:
        centres = np.clip(histogram.centres, low, high)
        places = np.clip(np.round((centres - low) / (high - low) * (levels - 1)), 0, levels - 1).astype(np.int64)
        inside = centres == histogram.centres
        within = np.where(inside, histogram.counts, 0)
        clipped = within.copy()
        first, last = np.flatnonzero(inside)[[0, -1]]
        clipped[first] += histogram.counts[:first].sum()
        clipped[last] += histogram.counts[last + 1 :].sum()
        filled = within > 0
        mass = np.bincount(places, within, levels)
        bins = np.maximum(np.bincount(places, filled, levels), 1)
        spread = np.where(filled, (mass / bins)[places], 0)
        return _kullback_leibler(clipped, spread)

    return _least(histogram, divergence)


Choose = Callable[[Histogram, int], tuple[float, float]]

RANGES: dict[str, Choose] = {"minmax": minmax, "percentile": percentile, "entropy": entropy, "mse": mse}
"""Name -> what chooses a range, given how many levels there are: 256 of 8 bits."""


def range_named(name: str) -> Choose:
    """Return what chooses; raise BadInput with the names there are."""
    if name not in RANGES:
        raise BadInput(f"got range {name!r}; expected one of {', '.join(RANGES)}; choose one of these")
    return RANGES[name]


def _least(histogram: Histogram, cost: Callable[[float, float], float]) -> tuple[float, float]:
    """Return the range of the least cost: both ends alike first, then each alone; the wider of equals."""
    best = min(FRACTIONS, key=lambda part: cost(part * histogram.low, part * histogram.high))
    low, high = best * histogram.low, best * histogram.high
    if histogram.low < 0 < histogram.high:
        low = min(FRACTIONS * histogram.low, key=lambda end: cost(end, high))
        high = min(FRACTIONS * histogram.high, key=lambda end: cost(low, end))
    return float(low), float(high)


def _kullback_leibler(wanted: np.ndarray, given: np.ndarray) -> float:
    """Return sum p log(p / q); a bin that q lacks counts as one with a millionth of the mass."""
    p = wanted / max(wanted.sum(), 1e-30)
    q = np.maximum(given / max(given.sum(), 1e-30), 1e-6)
    held = p > 0
    return float(np.sum(p[held] * np.log(p[held] / q[held])))
