"""What a layer is fed -> rows, which its outputs are sums over, and the means of their products that GPTQ needs."""

import math
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from edgestep.quantize.gptq import Moments
from edgestep.quantize.one_thread import one_thread

MOST_COLUMNS = 8192
"""A Hessian of more columns takes half a gigabyte and minutes: such a layer is rounded to nearest."""
MOST_ROWS = 8192
"""Rows of all samples together; of larger pictures some are taken."""
BATCH = 1024
"""Rows that are multiplied at a time."""
GOLDEN = (5**0.5 - 1) / 2

Pair = tuple[np.ndarray, np.ndarray]
"""Rows [rows, columns] of one sample: by float (t), and by what is rounded in front of the layer (x)."""


@one_thread()
def moments_from_rows(columns: int, pairs: Iterable[Pair]) -> Moments:
    """Return the means over all rows of x x^T and (t - x) x^T, of which there is at least one."""
    hessian, crossed = (np.zeros((columns, columns)) for _ in range(2))
    count = 0
    for t, x in _batched(pairs):
        hessian += x.T @ x
        crossed += (t - x).T @ x
        count += len(x)
    return Moments(hessian / count, crossed / count)


def matrix_rows(value: np.ndarray, most: int, sample: int) -> np.ndarray:
    """Return [rows, columns] of [..., columns], at most `most` of them: what a linear layer is fed."""
    rows = value.reshape(-1, value.shape[-1])
    return rows[spread(len(rows), most, sample)]


def patch_rows(
    value: np.ndarray,
    taps: Sequence[int],
    pads: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
    most: int,
    sample: int,
) -> np.ndarray:
    """Return [rows, I * kh * kw] of [B, I, H, W], at most `most` of them: what a kernel is multiplied with.

    `taps` are kh and kw, `pads` top, left, bottom, right.
    """
    top, left, bottom, right = pads
    (down, across), (tall, wide) = strides, dilations
    padded = np.pad(value, ((0, 0), (0, 0), (top, bottom), (left, right)))
    reach = ((taps[0] - 1) * tall + 1, (taps[1] - 1) * wide + 1)
    windows = np.lib.stride_tricks.sliding_window_view(padded, reach, axis=(2, 3))
    patches = windows[:, :, ::down, ::across, ::tall, ::wide].transpose(0, 2, 3, 1, 4, 5)
    places = np.unravel_index(spread(math.prod(patches.shape[:3]), most, sample), patches.shape[:3])
    return patches[places].reshape(len(places[0]), -1)


def spread(count: int, most: int, sample: int) -> np.ndarray:
    """Return which rows to take: multiples of the golden ratio, which fall on no grid, as pixels do. Every sample has
    others: a stride would see the same columns of each picture.
    """
    if count <= most:
        return np.arange(count)
    return ((np.arange(most) + sample * most) * GOLDEN % 1 * count).astype(np.int64)


def _batched(pairs: Iterable[Pair]) -> Iterator[Pair]:
    """Yield float32 rows together, BATCH or a few more at a time: one product of many is faster than many of few."""
    held: list[Pair] = []
    count = 0
    for pair in pairs:
        held.append(pair)
        count += len(pair[0])
        if count >= BATCH:
            yield _joined(held)
            held, count = [], 0
    if held:
        yield _joined(held)


def _joined(held: list[Pair]) -> Pair:
    t, x = (np.concatenate(rows).astype(np.float32, copy=False) for rows in zip(*held, strict=True))
    return t, x
