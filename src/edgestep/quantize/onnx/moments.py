"""What a layer is fed in calibration, by float and by the graph quantized so far -> the sums that GPTQ needs."""

import math
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from edgestep.quantize.gptq import Moments
from edgestep.quantize.one_thread import one_thread
from edgestep.quantize.onnx.weights import Weight

MOST_COLUMNS = 8192
"""A Hessian of more columns takes half a gigabyte and minutes: such a layer is rounded to nearest."""
MOST_ROWS = 8192
"""Rows of all samples together; of larger pictures some are taken."""
GOLDEN = (5**0.5 - 1) / 2
BATCH = 1024
"""Rows that are multiplied at a time."""


def has_moments(weight: Weight, node: Any) -> bool:
    """Tell whether a layer can be corrected: an embedding has no sums, a ConvTranspose or groups no one matrix."""
    plain = weight.operation in ("MatMul", "Gemm") or (weight.operation == "Conv" and len(weight.shape) == 4)
    padded = any(a.name == "auto_pad" and a.s != b"NOTSET" for a in node.attribute)
    return plain and not padded and weight.groups == 1 and weight.columns <= MOST_COLUMNS


@one_thread()
def moments_of(
    weight: Weight, node: Any, targets: Iterable[np.ndarray], inputs: Iterable[np.ndarray], samples: int
) -> Moments:
    """Return the means over all rows; `targets` and `inputs` are the layer's input in float and as quantized."""
    most = max(1, MOST_ROWS // samples)
    hessian, crossed = (np.zeros((weight.columns, weight.columns)) for _ in range(2))
    count = 0
    pairs = (
        (rows_of(weight, node, t, most), rows_of(weight, node, x, most)) for t, x in zip(targets, inputs, strict=True)
    )
    for t, x in _batched(pairs):
        hessian += x.T @ x
        crossed += (t - x).T @ x
        count += len(x)
    return Moments(hessian / count, crossed / count)


def _batched(pairs: Iterable[tuple[np.ndarray, np.ndarray]]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield float32 rows together, BATCH or a few more at a time: one product of many is faster than many of few."""
    held: list[tuple[np.ndarray, np.ndarray]] = []
    count = 0
    for pair in pairs:
        held.append(pair)
        count += len(pair[0])
        if count >= BATCH:
            yield _joined(held)
            held, count = [], 0
    if held:
        yield _joined(held)


def _joined(held: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    t, x = (np.concatenate(rows).astype(np.float32, copy=False) for rows in zip(*held, strict=True))
    return t, x


def rows_of(weight: Weight, node: Any, value: np.ndarray, most: int, sample: int = 0) -> np.ndarray:
    """Return [rows, columns], at most `most` of them: what one output number of the layer is the sum over."""
    attributes = {a.name: list(a.ints) or a.i for a in node.attribute}
    if weight.operation != "Conv":
        if weight.operation == "Gemm" and attributes.get("transA", 0):
            value = value.T
        rows = value.reshape(-1, value.shape[-1])
        return rows[_spread(len(rows), most, sample)]
    patches = _patches(weight, attributes, value)
    places = np.unravel_index(_spread(math.prod(patches.shape[:3]), most, sample), patches.shape[:3])
    return patches[places].reshape(len(places[0]), -1)


def _patches(weight: Weight, attributes: dict[str, Any], value: np.ndarray) -> np.ndarray:
    """[B, I, H, W] -> a view [B, OH, OW, I, kh, kw] of what a convolution multiplies with its kernel."""
    top, left, bottom, right = attributes.get("pads") or (0, 0, 0, 0)
    (down, across), (tall, wide) = attributes.get("strides") or (1, 1), attributes.get("dilations") or (1, 1)
    kh, kw = weight.shape[2:]
    padded = np.pad(value, ((0, 0), (0, 0), (top, bottom), (left, right)))
    reach = ((kh - 1) * tall + 1, (kw - 1) * wide + 1)
    windows = np.lib.stride_tricks.sliding_window_view(padded, reach, axis=(2, 3))
    return windows[:, :, ::down, ::across, ::tall, ::wide].transpose(0, 2, 3, 1, 4, 5)


def _spread(count: int, most: int, sample: int) -> np.ndarray:
    """Return which rows to take: multiples of the golden ratio, which fall on no grid, as pixels do. Every sample has
    others: a stride would see the same columns of each picture.
    """
    if count <= most:
        return np.arange(count)
    return ((np.arange(most) + sample * most) * GOLDEN % 1 * count).astype(np.int64)
