"""Precision and recall of a generator by k-nearest-neighbour manifolds (Kynkäänniemi et al. 2019, eq. 1 and 2).

A set's manifold is the union of balls around its features, each reaching to the feature's k-th nearest neighbour.
Precision: share of drawn features in the real manifold. Recall: share of real features in the drawn manifold.
"""

import numpy as np

BLOCK = 1024


def precision_recall(real: np.ndarray, drawn: np.ndarray, k: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Return (bool [M]: drawn feature in the real manifold, bool [N]: real feature in the drawn one).

    `real` [N, D], `drawn` [M, D]; their means are precision and recall.
    """
    return _in_manifold(drawn, real, k), _in_manifold(real, drawn, k)


def _in_manifold(queries: np.ndarray, centres: np.ndarray, k: int) -> np.ndarray:
    radii = _radii(centres, k)
    parts = [(_distances(queries[part], centres) <= radii).any(1) for part in _blocks(len(queries))]
    return np.concatenate(parts)


def _radii(centres: np.ndarray, k: int) -> np.ndarray:
    """Squared distance of every feature to its k-th nearest other one."""
    parts = []
    for part in _blocks(len(centres)):
        distances = _distances(centres[part], centres)
        rows = np.arange(len(distances))
        distances[rows, part.start + rows] = np.inf  # a feature is no neighbour of itself
        parts.append(np.partition(distances, k - 1, axis=1)[:, k - 1])
    return np.concatenate(parts)


def _distances(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    return np.maximum(np.square(x).sum(1)[:, None] + np.square(y).sum(1) - 2 * x @ y.T, 0)


def _blocks(count: int) -> list[slice]:
    return [slice(start, min(start + BLOCK, count)) for start in range(0, count, BLOCK)]
