"""(seed, step) -> the rows of a step's global batch, with no list of rows in memory.

Every epoch visits every row once, in an order of its own: a Feistel network over Z_a x Z_b, a b >= count, whose few
values past the end are sent through it again until they fall inside (cycle walking; Black and Rogaway 2002).
"""

import math

import numpy as np
import torch

ROUNDS = 10
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def batch_index(count: int, batch: int, step: int, seed: int) -> torch.Tensor:
    """Return the rows of step `step`: int64 [batch], each in 0 .. count - 1.

    Step after step, the rows follow one another through a permutation of all rows, then through another one. A batch
    that spans two epochs is part of both, so no row is left out where `batch` does not divide `count`.
    """
    place = np.arange(step * batch, (step + 1) * batch, dtype=np.int64)
    epochs = place // count
    rows = np.empty(batch, np.int64)
    for epoch in np.unique(epochs):
        inside = epochs == epoch
        rows[inside] = permuted(place[inside] % count, count, seed, int(epoch))
    return torch.from_numpy(rows)


def permuted(places: np.ndarray, count: int, seed: int, epoch: int) -> np.ndarray:
    """Return where a permutation of 0 .. count - 1, chosen by (seed, epoch), sends `places` (int64)."""
    a = math.isqrt(count - 1) + 1
    b = -(-count // a)
    keys = _keys(seed, epoch)
    rows = _feistel(places.astype(np.uint64), a, b, keys)
    while (outside := rows >= count).any():
        rows[outside] = _feistel(rows[outside], a, b, keys)
    return rows.astype(np.int64)


def _feistel(values: np.ndarray, a: int, b: int, keys: np.ndarray) -> np.ndarray:
    left, right = values // np.uint64(b), values % np.uint64(b)
    for i, key in enumerate(keys):
        if i % 2:
            right = (right + _mixed(left ^ key) % np.uint64(b)) % np.uint64(b)
        else:
            left = (left + _mixed(right ^ key) % np.uint64(a)) % np.uint64(a)
    return left * np.uint64(b) + right


def _keys(seed: int, epoch: int) -> np.ndarray:
    start = _mixed(_mixed(np.array([seed % 2**64], np.uint64)) ^ np.uint64(epoch))
    return _mixed(start + np.arange(1, ROUNDS + 1, dtype=np.uint64) * _GOLDEN)


def _mixed(x: np.ndarray) -> np.ndarray:
    """Scatter 64-bit integers: the finalizer of SplitMix64 (Steele, Lea and Flood 2014). Wraps around on purpose."""
    x = x + _GOLDEN
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
