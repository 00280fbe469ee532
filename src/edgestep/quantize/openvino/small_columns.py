"""An OpenVINO model whose weights have small columns -> a Multiply in front of each such layer."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from edgestep.quantize.channels import along
from edgestep.quantize.openvino.weights import OPERATIONS, Weight, constant_of
from edgestep.quantize.small_columns import NAME, column_scales


def lift_small_columns(model: Any, weights: Mapping[str, Weight], layers: Iterable[str]) -> int:
    """Rewrite in place, the function stays; return how many of `layers` were."""
    chosen = set(layers)
    ops = [op for op in model.get_ordered_ops() if op.get_friendly_name() in chosen]
    return sum(_lifted(op, weights[op.get_friendly_name()]) for op in ops)


def _lifted(op: Any, weight: Weight) -> bool:
    from openvino import opset13

    if weight.operation not in ("Convolution", "MatMul") or op.get_attributes().get("transpose_a"):
        return False
    old = constant_of(op)
    values = old.get_data().astype(np.float32)
    scales = column_scales(values, weight.axis)
    if scales is None:
        return False
    divided = opset13.constant(values / along(scales, weight.axis, values.ndim), name=old.get_friendly_name())
    op.input(OPERATIONS[weight.operation]).replace_source_output(divided.output(0))
    shaped = along(scales, 1, values.ndim) if weight.operation == "Convolution" else scales
    name = f"{weight.layer}/{NAME}"
    multiplied = opset13.multiply(op.input_value(0), opset13.constant(shaped, name=f"{name}/scale"), name=name)
    op.input(0).replace_source_output(multiplied.output(0))
    return True
