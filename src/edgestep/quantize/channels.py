"""Numbers of channels: how far each reaches, and one number for each laid out along its axis."""

import numpy as np

MULTIPLIED = "smooth_quant"
"""In the name of a multiplication of what a layer reads: a bisection reads through it."""


def reach_of(values: np.ndarray, axis: int) -> np.ndarray:
    """Return the largest magnitude of each channel at an axis, [channels]."""
    axis %= values.ndim
    return np.abs(values).max(axis=tuple(i for i in range(values.ndim) if i != axis))


def along(numbers: np.ndarray, axis: int, rank: int) -> np.ndarray:
    """Return [channels] shaped so that it broadcasts along an axis of a tensor of that rank."""
    return numbers.reshape([-1 if i == axis % rank else 1 for i in range(rank)])
