"""An OpenVINO model whose weights have small columns -> a Multiply in front of each such layer."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from edgestep.quantize.channels import along
from edgestep.quantize.openvino.in_front import multiply_in_front
from edgestep.quantize.openvino.weights import Weight, constant_of
from edgestep.quantize.small_columns import column_scales


def lift_small_columns(model: Any, weights: Mapping[str, Weight], layers: Iterable[str]) -> int:
    """Rewrite in place, the function stays; return how many of `layers` were."""
    chosen = set(layers)
    ops = [op for op in model.get_ordered_ops() if op.get_friendly_name() in chosen]
    return sum(_lifted(op, weights[op.get_friendly_name()]) for op in ops)


def _lifted(op: Any, weight: Weight) -> bool:
    if weight.operation not in ("Convolution", "MatMul") or op.get_attributes().get("transpose_a"):
        return False
    values = constant_of(op).get_data().astype(np.float32)
    scales = column_scales(values, weight.axis)
    if scales is None:
        return False
    multiply_in_front(op, weight, values / along(scales, weight.axis, values.ndim), scales)
    return True
