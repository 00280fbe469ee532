"""Fréchet distance between the Gaussians of two sets of features.

d^2 = |m1 - m2|^2 + tr(S1 + S2 - 2 (S1^(1/2) S2 S1^(1/2))^(1/2))
(Dowson and Landau 1982; as FID in Inception's features: Heusel et al. 2017, eq. 6)
"""

import numpy as np


def frechet_distance(
    first: np.ndarray, second: np.ndarray, counts: tuple[np.ndarray, np.ndarray] | None = None
) -> float:
    """Return d^2 of features [N, D] and [M, D], in float64.

    `counts`: how often each row of each set counts (a bootstrap resample); once without.
    """
    of_first, of_second = counts if counts is not None else (None, None)
    m1, s1 = gaussian(first, of_first)
    m2, s2 = gaussian(second, of_second)
    return frechet_between(m1, s1, m2, s2)


def gaussian(features: np.ndarray, counts: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Return mean [D] and unbiased covariance [D, D], float64."""
    features = np.asarray(features, np.float64)
    counts = np.ones(len(features)) if counts is None else np.asarray(counts, np.float64)
    total = counts.sum()
    mean = counts @ features / total
    centred = features - mean
    return mean, (centred * counts[:, None]).T @ centred / (total - 1)


def frechet_between(m1: np.ndarray, s1: np.ndarray, m2: np.ndarray, s2: np.ndarray) -> float:
    """Return d^2 of N(m1, s1) and N(m2, s2). Eigenvalues of symmetric products: never a complex root."""
    root = _root(s1)
    cross = np.linalg.eigvalsh(root @ s2 @ root)
    return float(np.square(m1 - m2).sum() + np.trace(s1) + np.trace(s2) - 2 * np.sqrt(cross.clip(0)).sum())


def _root(matrix: np.ndarray) -> np.ndarray:
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.sqrt(values.clip(0))) @ vectors.T
