"""Raw samples -> quantiles and bootstrap intervals. The resampling is seeded: equal samples, equal intervals."""

from collections.abc import Sequence

import numpy as np

RESAMPLES = 2000
CONFIDENCE = 0.95


def quantiles(samples: Sequence[float]) -> tuple[float, float, float]:
    """Return the 50th, 90th and 99th percentile, interpolated linearly."""
    p50, p90, p99 = np.quantile(np.asarray(samples, dtype=np.float64), (0.5, 0.9, 0.99))
    return float(p50), float(p90), float(p99)


def median_interval(samples: Sequence[float]) -> tuple[float, float]:
    """Return the 95 % percentile-bootstrap interval of the median.

    Samples of one process are resampled as if independent: what changes between processes is not in it.
    """
    values = np.asarray(samples, dtype=np.float64)
    return _ends(np.median(values[_draws(len(values))], axis=1))


def ratio_interval(over: Sequence[float], of: Sequence[float]) -> tuple[float, float]:
    """Return the 95 % interval of median(over) / median(of); sample i of both is of round i, and stays with it."""
    first, second = np.asarray(over, dtype=np.float64), np.asarray(of, dtype=np.float64)
    if len(first) != len(second):
        raise ValueError(f"got {len(first)} and {len(second)} samples; expected one of each per round")
    draws = _draws(len(first))
    return _ends(np.median(first[draws], axis=1) / np.median(second[draws], axis=1))


def _draws(count: int) -> np.ndarray:
    return np.random.Generator(np.random.PCG64(0)).integers(count, size=(RESAMPLES, count))


def _ends(medians: np.ndarray) -> tuple[float, float]:
    low, high = np.quantile(medians, ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2))
    return float(low), float(high)
