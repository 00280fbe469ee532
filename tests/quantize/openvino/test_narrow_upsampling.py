"""Convolutions of upsampled pictures, computed before upsampling: the same sums of fewer products."""

from typing import Any

import numpy as np
import openvino
import pytest
from openvino import opset13

from edgestep.quantize.openvino.narrow_upsampling import WIDE, compute_before_upsampling
from tests.quantize.conftest import sqnr
from tests.quantize.openvino.blocks import drawn, is_left

made_of: Any = openvino.Model  # its stub takes no arguments


def network(
    inputs: int = 6,
    size: tuple[int, int] = (8, 9),
    kernel: int = 3,
    pad: int = 1,
    factor: int = 2,
    mode: str = "nearest",
    nearest: str = "floor",
    *,
    bias: bool = True,
) -> Any:
    random = np.random.default_rng(0)
    x = opset13.parameter([2, inputs, *size], np.float32, "x")
    scales = opset13.constant(np.array([factor, factor], np.float32))
    axes = opset13.constant(np.array([2, 3], np.int64))
    how = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": nearest, "axes": axes}
    large = opset13.interpolate(x, scales, mode, "scales", **how)
    weight = opset13.constant(random.standard_normal((5, inputs, kernel, kernel)).astype(np.float32), name="net.weight")
    y = opset13.convolution(large, weight, [1, 1], [pad, pad], [pad, pad], [1, 1], name="net.conv/Conv")
    values = opset13.constant(random.standard_normal((1, 5, 1, 1)).astype(np.float32))
    return made_of([opset13.add(y, values, name="net.conv") if bias else opset13.relu(y)], [x], "made")


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("size", [(8, 8), (8, 9), (13, 7)])
def test_the_same_is_computed_at_the_size_of_the_small_picture(size, bias):
    model = network(size=size, bias=bias)
    assert compute_before_upsampling(model) == 1
    kinds = [op.get_type_name() for op in model.get_ordered_ops()]
    assert "Interpolate" not in kinds
    (convolution,) = (op for op in model.get_ordered_ops() if op.get_type_name() == "Convolution")
    assert convolution.get_friendly_name() == "net.conv/Conv"
    assert convolution.input_value(1).get_node().get_friendly_name() == "net.weight"
    assert list(convolution.input_value(1).get_shape()) == [20, 6, 2, 2]
    assert list(model.output(0).shape) == [2, 5, 2 * size[0], 2 * size[1]]
    assert sqnr(drawn(network(size=size, bias=bias)), drawn(model)) > 120


@pytest.mark.parametrize(
    "other",
    [
        {"inputs": WIDE},
        {"size": (9, 7)},
        {"kernel": 1, "pad": 0},
        {"pad": 0},
        {"factor": 3},
        {"mode": "linear_onnx"},
        {"nearest": "ceil"},
    ],
)
def test_others_are_left(other):
    assert is_left(compute_before_upsampling, network(**other))


def test_any_size_is_left():
    model = network()
    model.reshape({0: openvino.PartialShape([2, 6, -1, -1])})
    assert compute_before_upsampling(model) == 0
