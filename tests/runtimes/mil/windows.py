"""Convolution and pooling written as the sums that define them, in NumPy: what the evaluator's are held against."""

import itertools
from collections.abc import Iterator, Sequence

import numpy as np

Pads = Sequence[tuple[int, int]]


def same_pads(sizes: Sequence[int], extents: Sequence[int], strides: Sequence[int], lower: bool) -> Pads:
    """Return TensorFlow's SAME padding: ceil(size / stride) windows fit."""
    pads = []
    for size, extent, stride in zip(sizes, extents, strides, strict=True):
        total = max(0, (int(np.ceil(size / stride)) - 1) * stride + extent - size)
        less, more = total // 2, (total + 1) // 2
        pads.append((more, less) if lower else (less, more))
    return pads


def convolved(
    x: np.ndarray, weight: np.ndarray, strides: Sequence[int], pads: Pads, dilations: Sequence[int], groups: int
) -> np.ndarray:
    """Return [n, C_out, *D_out], each number a sum over one window."""
    wide = np.pad(x.astype(np.float64), [(0, 0), (0, 0), *pads])
    extents = [(k - 1) * d + 1 for k, d in zip(weight.shape[2:], dilations, strict=True)]
    counts = _counts(wide.shape[2:], extents, strides)
    made = np.zeros((len(x), len(weight), *counts))
    each = len(weight) // groups
    for at in itertools.product(*map(range, counts)):
        window = tuple(slice(i * s, i * s + e, d) for i, s, e, d in zip(at, strides, extents, dilations, strict=True))
        part = wide[(slice(None), slice(None), *window)]
        for group in range(groups):
            of = slice(group * each, (group + 1) * each)
            channels = part[:, group * weight.shape[1] : (group + 1) * weight.shape[1]]
            axes = list(range(1, x.ndim))
            made[(slice(None), of, *at)] = np.tensordot(channels, weight[of], (axes, axes))
    return made


def spread(
    x: np.ndarray, weight: np.ndarray, strides: Sequence[int], dilations: Sequence[int], groups: int
) -> np.ndarray:
    """Return the whole transposed convolution [n, C_out, *D]: each number of x adds its multiple of the kernel."""
    extents = [(k - 1) * d + 1 for k, d in zip(weight.shape[2:], dilations, strict=True)]
    sizes = [(n - 1) * s + e for n, s, e in zip(x.shape[2:], strides, extents, strict=True)]
    each_in, each_out = x.shape[1] // groups, weight.shape[1]
    made = np.zeros((len(x), each_out * groups, *sizes))
    for at in itertools.product(*map(range, x.shape[2:])):
        window = tuple(slice(i * s, i * s + e, d) for i, s, e, d in zip(at, strides, extents, dilations, strict=True))
        for group in range(groups):
            of = slice(group * each_in, (group + 1) * each_in)
            put = np.tensordot(x[(slice(None), of, *at)], weight[of], (1, 0))
            made[(slice(None), slice(group * each_out, (group + 1) * each_out), *window)] += put
    return made


def windows(
    x: np.ndarray, kernel: Sequence[int], strides: Sequence[int]
) -> Iterator[tuple[tuple[int, ...], np.ndarray]]:
    """Yield (place, [n, C, window]) of each whole window of a padded input."""
    counts = _counts(x.shape[2:], kernel, strides)
    for at in itertools.product(*map(range, counts)):
        window = tuple(slice(i * s, i * s + k) for i, s, k in zip(at, strides, kernel, strict=True))
        yield at, x[(slice(None), slice(None), *window)].reshape(*x.shape[:2], -1)


def _counts(sizes: Sequence[int], extents: Sequence[int], strides: Sequence[int]) -> list[int]:
    return [(n - e) // s + 1 for n, e, s in zip(sizes, extents, strides, strict=True)]
