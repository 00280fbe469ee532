"""A layer's weight and what it reads, changed so that the product stays: a Multiply in front, by a number a channel."""

from typing import Any

import numpy as np

from edgestep.quantize.channels import MULTIPLIED, along
from edgestep.quantize.openvino.weights import OPERATIONS, Weight, constant_of


def multiply_in_front(op: Any, weight: Weight, values: np.ndarray, numbers: np.ndarray) -> None:
    """Let a Convolution or MatMul have the weight `values`, and read its input times `numbers`, [channels]."""
    from openvino import opset13

    changed = opset13.constant(values, name=constant_of(op).get_friendly_name())
    op.input(OPERATIONS[weight.operation]).replace_source_output(changed.output(0))
    shaped = along(numbers, 1, values.ndim) if weight.operation == "Convolution" else numbers
    name = f"{weight.layer}/{MULTIPLIED}"
    multiplied = opset13.multiply(op.input_value(0), opset13.constant(shaped, name=f"{name}/scale"), name=name)
    op.input(0).replace_source_output(multiplied.output(0))
