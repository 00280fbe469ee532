"""Kernel distance: unbiased squared MMD of two sets of features under k(x, y) = (x . y / D + 1)^3.

(Binkowski et al. 2018, section 3: KID; Gretton et al. 2012, lemma 6: the U-statistic.) The whole sample's U-statistic
is taken, in blocks: the mean over random subsets, which is often given, estimates the same with more variance.
"""

import numpy as np

BLOCK = 1024


def kernel_distance(
    first: np.ndarray, second: np.ndarray, counts: tuple[np.ndarray, np.ndarray] | None = None
) -> np.ndarray:
    """Return the unbiased squared MMD of features [N, D] and [M, D]: a number, or one per row of `counts`.

    `counts`: ([R, N], [R, M]) how often each row counts in R bootstrap resamples. A row and its own copies are left
    out of the means, as a row and itself are: they would pass for two pictures that are alike.
    """
    of_first, of_second = counts if counts is not None else (np.ones(len(first)), np.ones(len(second)))
    within = _mean_within(first, of_first) + _mean_within(second, of_second)
    across = _sums(first, second, of_first, of_second) / (of_first.sum(-1) * of_second.sum(-1))
    return within - 2 * across


def _mean_within(features: np.ndarray, counts: np.ndarray) -> np.ndarray:
    features = np.asarray(features, np.float64)
    own = (np.square(features).sum(1) / features.shape[1] + 1) ** 3
    squares = np.square(counts)
    total = _sums(features, features, counts, counts) - squares @ own
    return total / (counts.sum(-1) ** 2 - squares.sum(-1))


def _sums(x: np.ndarray, y: np.ndarray, of_x: np.ndarray, of_y: np.ndarray) -> np.ndarray:
    """Return sum_ij of_x[i] of_y[j] k(x_i, y_j) over the last axes of the counts."""
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    total = np.zeros(of_x.shape[:-1])
    for start in range(0, len(x), BLOCK):
        part = slice(start, start + BLOCK)
        kernel = (x[part] @ y.T / x.shape[1] + 1) ** 3
        total = total + ((of_x[..., part] @ kernel) * of_y).sum(-1)
    return total
