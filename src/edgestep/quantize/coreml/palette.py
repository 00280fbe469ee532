"""A weight -> the numbers that its tables leave of it, and the bytes that they take."""

import numpy as np

from edgestep.quantize.coreml.kmeans import table_from_values


def palettized(values: np.ndarray, bits: int, *, axis: int = 0, group: int = 0) -> np.ndarray:
    """Return float32 values of the same shape, each the nearest in its table of 2^bits; `group` 0 is one table for all,
    else each `group` channels along `axis` have their own.
    """
    if not group:
        table, indices = table_from_values(values, bits)
        return table[indices].reshape(values.shape)
    parts = np.split(values, values.shape[axis] // group, axis=axis)
    return np.concatenate([palettized(part, bits) for part in parts], axis=axis)


def palette_bytes(values: np.ndarray, bits: int, *, axis: int = 0, group: int = 0) -> int:
    """Return the bytes of a palettized weight: `bits` for each value, and its tables."""
    tables = values.shape[axis] // group if group else 1
    return -(-values.size * bits // 8) + tables * (1 << bits) * values.dtype.itemsize
