"""The last convolution in blocks of 2 x 2 pixels: the same sums."""

from typing import Any

import numpy as np
import openvino
import pytest
from openvino import opset13

from edgestep.quantize.openvino.picture_blocks import compute_in_blocks
from tests.quantize.conftest import sqnr
from tests.quantize.openvino.blocks import drawn, is_left

made_of: Any = openvino.Model  # its stub takes no arguments


def network(
    outputs: int = 3,
    size: tuple[int, int] = (10, 6),
    kernel: int = 3,
    stride: int = 1,
    pad: int = 1,
    *,
    bias: bool = True,
    read_twice: bool = False,
) -> Any:
    random = np.random.default_rng(0)
    x = opset13.parameter([2, 16, *size], np.float32, "x")
    weight = random.standard_normal((outputs, 16, kernel, kernel)).astype(np.float32) / 12
    given = ([stride, stride], [pad, pad], [pad, pad], [1, 1])
    y = opset13.convolution(x, opset13.constant(weight), *given, name="vae.conv_out/Conv")
    values = opset13.constant(random.standard_normal((1, outputs, 1, 1)).astype(np.float32))
    plus = opset13.add(y, values if bias else y, name="sample")
    return made_of([opset13.subtract(plus, y)] if read_twice else [plus], [x], "made")


@pytest.mark.parametrize("outputs", [1, 3, 4])
def test_the_picture_stays(outputs):
    model = network(outputs)
    assert compute_in_blocks(model) == 1
    (convolution,) = (op for op in model.get_ordered_ops() if op.get_type_name() == "Convolution")
    assert list(convolution.get_output_shape(0)) == [2, 4 * outputs, 5, 3]
    assert list(model.output(0).shape) == [2, outputs, 10, 6]
    assert sqnr(drawn(network(outputs)), drawn(model)) > 120


def test_the_bias_is_added_to_the_blocks():
    model = network()
    compute_in_blocks(model)
    (add,) = (op for op in model.get_ordered_ops() if op.get_type_name() == "Add")
    assert list(add.get_output_shape(0)) == [2, 12, 5, 3]


@pytest.mark.parametrize("form", [{"bias": False}, {"read_twice": True}])
def test_what_is_no_bias_stays_behind_the_pixels(form):
    model = network(**form)
    assert compute_in_blocks(model) == 1
    (add,) = (op for op in model.get_ordered_ops() if op.get_type_name() == "Add")
    assert list(add.get_output_shape(0)) == [2, 3, 10, 6]
    assert sqnr(drawn(network(**form)), drawn(model)) > 110


@pytest.mark.parametrize(
    "other",
    [{"outputs": 5}, {"size": (9, 6)}, {"size": (6, 9)}, {"kernel": 1, "pad": 0}, {"pad": 0}, {"stride": 2}],
)
def test_others_are_left(other):
    assert is_left(compute_in_blocks, network(**other))


def test_any_size_is_left():
    model = network()
    model.reshape({0: openvino.PartialShape([2, 16, -1, -1])})
    assert compute_in_blocks(model) == 0
