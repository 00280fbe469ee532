"""Bootstrap intervals (Efron and Tibshirani 1993, chapter 13): resample with replacement, look at the spread."""

import numpy as np

RESAMPLES = 200
LEVEL = 0.95


def resamples(count: int, seed: int, number: int = RESAMPLES) -> np.ndarray:
    """Return float64 [number, count]: how often each of `count` rows is drawn in each resample of `count` draws."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(count, np.full(count, 1 / count), size=number).astype(np.float64)


def interval(values: np.ndarray, level: float = LEVEL, around: float | None = None) -> tuple[float, float]:
    """Return the percentile interval of the resampled `values` [R].

    `around`: move the interval so that its median stands at the estimate. For measures that the copies in a resample
    push up, as the Fréchet distance: the width is right, the place is not.
    """
    low, middle, high = np.quantile(values, [(1 - level) / 2, 0.5, (1 + level) / 2])
    shift = 0.0 if around is None else around - middle
    return float(low + shift), float(high + shift)
