"""What a layer is fed in calibration, by float and by the graph quantized so far -> the sums that GPTQ needs."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from edgestep.quantize.gptq import Moments
from edgestep.quantize.moments import MOST_COLUMNS, MOST_ROWS, matrix_rows, moments_from_rows, patch_rows
from edgestep.quantize.onnx.weights import Weight


def has_moments(weight: Weight, node: Any) -> bool:
    """Tell whether a layer's weight can be corrected: see `has_rows`; more columns would take too long."""
    return has_rows(weight, node) and weight.columns <= MOST_COLUMNS


def has_rows(weight: Weight, node: Any) -> bool:
    """Tell whether a layer is a product with one matrix: an embedding, a ConvTranspose and groups are not."""
    plain = weight.operation in ("MatMul", "Gemm") or (weight.operation == "Conv" and len(weight.shape) == 4)
    padded = any(a.name == "auto_pad" and a.s != b"NOTSET" for a in node.attribute)
    return plain and not padded and weight.groups == 1


def moments_of(
    weight: Weight, node: Any, targets: Iterable[np.ndarray], inputs: Iterable[np.ndarray], samples: int
) -> Moments:
    """Return the means over all rows; `targets` and `inputs` are the layer's input in float and as quantized."""
    most = max(1, MOST_ROWS // samples)
    pairs = (
        (rows_of(weight, node, t, most), rows_of(weight, node, x, most)) for t, x in zip(targets, inputs, strict=True)
    )
    return moments_from_rows(weight.columns, pairs)


def rows_of(weight: Weight, node: Any, value: np.ndarray, most: int, sample: int = 0) -> np.ndarray:
    """Return [rows, columns], at most `most` of them: what one output number of the layer is the sum over."""
    attributes = {a.name: list(a.ints) or a.i for a in node.attribute}
    if weight.operation != "Conv":
        return matrix_rows(value.T if attributes.get("transA", 0) else value, most, sample)
    pads, strides = attributes.get("pads") or (0, 0, 0, 0), attributes.get("strides") or (1, 1)
    return patch_rows(value, weight.shape[2:], pads, strides, attributes.get("dilations") or (1, 1), most, sample)


def mean_row(weight: Weight, node: Any, inputs: Sequence[np.ndarray]) -> np.ndarray:
    """Return the mean over the rows of `moments_of`, float64 [columns]."""
    most = max(1, MOST_ROWS // len(inputs))
    rows = (rows_of(weight, node, value, most) for value in inputs)
    sums = [(each.sum(0, dtype=np.float64), len(each)) for each in rows]
    return np.sum([total for total, _ in sums], axis=0) / sum(count for _, count in sums)
