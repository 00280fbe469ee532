"""Weights [outputs, columns] -> integers and a scale for each block of columns, clipped where that errs least.

    w ~ scale * q,  q = clip(round(w / scale), -2^(bits-1), 2^(bits-1) - 1)

The integers reach one further below zero than above. A negative scale turns that to the side that needs it, which is
worth half a bit where there are few: both signs are tried for each block.
"""

from dataclasses import dataclass

import numpy as np

RATIOS = np.linspace(1.0, 0.55, 16)
"""Of the range that would clip nothing. Below half of it, clipping errs more than a coarse step ever does."""
EIGHT_BITS = 8
LEAST_SCALE = 2.0**-24
"""The smallest float16 above zero: what a block of zeros, or of nearly that, is divided by."""


@dataclass(frozen=True, eq=False)
class Rounded:
    """`integers` int8 [outputs, columns] and `scales` float32 [outputs, columns / block]."""

    integers: np.ndarray
    scales: np.ndarray

    @property
    def values(self) -> np.ndarray:
        """float32 [outputs, columns]: what a runtime will compute with."""
        outputs, columns = self.integers.shape
        split = self.integers.reshape(outputs, self.scales.shape[1], -1).astype(np.float32)
        return (split * self.scales[:, :, None]).reshape(outputs, columns)


def rounded(weights: np.ndarray, bits: int, block: int, importance: np.ndarray | None = None) -> Rounded:
    """Return float [outputs, columns] rounded to nearest; see `scales_of`."""
    scales = scales_of(weights, bits, block, importance)
    outputs, columns = weights.shape
    split = weights.reshape(outputs, -1, block)
    return Rounded(integers_of(split, scales[:, :, None], bits).reshape(outputs, columns), scales)


def scales_of(weights: np.ndarray, bits: int, block: int, importance: np.ndarray | None = None) -> np.ndarray:
    """Return float32 [outputs, columns / block], with the least squared error, weighted by `importance` [columns].

    8 bits clip nothing, and have a float32 scale; others have one that float16 can hold.
    """
    split = np.asarray(weights, np.float32).reshape(len(weights), -1, block)
    if bits >= EIGHT_BITS:
        return np.maximum(np.abs(split).max(axis=2) / np.float32(2 ** (bits - 1) - 1), np.float32(LEAST_SCALE))
    cost = None if importance is None else np.asarray(importance, np.float32).reshape(1, -1, block)
    widest = np.abs(split).max(axis=2) / (2 ** (bits - 1) - 0.5)
    best, least = np.zeros(0, np.float32), np.full(widest.shape, np.inf, np.float32)
    for ratio in (*RATIOS, 1 - 0.5**bits):  # the last puts the largest onto -2^(bits-1)
        for sign in (1, -1):
            scale = _as_stored(sign * ratio * widest)
            error = _error(split, scale[:, :, None], bits, cost)
            best = np.where(error < least, scale, best if best.size else scale)
            least = np.minimum(error, least)
    return best


def integers_of(weights: np.ndarray, scales: np.ndarray, bits: int) -> np.ndarray:
    """Return int8: the nearest multiples of `scales`, half to even, within the bits."""
    half = 2 ** (bits - 1)
    return np.clip(np.rint(weights / scales), -half, half - 1).astype(np.int8)


def _error(split: np.ndarray, scale: np.ndarray, bits: int, cost: np.ndarray | None) -> np.ndarray:
    """Return [outputs, blocks]: the squared error of each block."""
    half = 2 ** (bits - 1)
    error = np.rint(split / scale)
    np.clip(error, -half, half - 1, out=error)
    error *= scale
    error -= split
    error *= error
    if cost is not None:
        error *= cost
    return error.sum(axis=2)


def _as_stored(scale: np.ndarray) -> np.ndarray:
    """Return the scales as float16 holds them, in float32, none of them zero."""
    stored = scale.astype(np.float16).astype(np.float32)
    return np.where(stored == 0, np.float32(LEAST_SCALE), stored)
