"""What an OpenVINO layer is fed in calibration -> the rows that GPTQ needs; see quantize/moments.py."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from edgestep.quantize.gptq import Moments
from edgestep.quantize.moments import MOST_COLUMNS, MOST_ROWS, matrix_rows, moments_from_rows, patch_rows
from edgestep.quantize.openvino.weights import Weight


def has_moments(weight: Weight) -> bool:
    """Tell whether a layer can be corrected: an embedding has no sums, groups and transposes have no one matrix."""
    plain = weight.operation == "MatMul" or (weight.operation == "Convolution" and len(weight.lies) == 4)
    return plain and _columns(weight) <= MOST_COLUMNS


def moments_of(
    weight: Weight,
    attributes: Mapping[str, Any],
    targets: Iterable[np.ndarray],
    inputs: Iterable[np.ndarray],
    samples: int,
) -> Moments:
    """Return the means over all rows; `targets` and `inputs` are the layer's input in float and as rounded."""
    most = max(1, MOST_ROWS // samples)
    pairs = (
        (rows_of(weight, attributes, t, most, i), rows_of(weight, attributes, x, most, i))
        for i, (t, x) in enumerate(zip(targets, inputs, strict=True))
    )
    return moments_from_rows(_columns(weight), pairs)


def rows_of(weight: Weight, attributes: Mapping[str, Any], value: np.ndarray, most: int, sample: int = 0) -> np.ndarray:
    """Return [rows, columns], at most `most` of them: what an output number of the layer is the sum over."""
    if weight.operation == "MatMul":
        return matrix_rows(value.swapaxes(-1, -2) if attributes["transpose_a"] else value, most, sample)
    pads = (*attributes["pads_begin"], *attributes["pads_end"])
    strides, dilations = attributes["strides"], attributes["dilations"]
    return patch_rows(value, weight.lies[2:], pads, strides, dilations, most, sample)


def _columns(weight: Weight) -> int:
    return math.prod(weight.shape) // weight.shape[1 - weight.axis]
