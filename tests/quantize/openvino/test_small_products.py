"""Small products in float: the file keeps int8, the runtime has no compressed layer of them."""

from typing import Any

import numpy as np
import openvino
import pytest
from openvino import opset13

from edgestep.quantize.openvino.small_products import MOST_PRODUCTS, widen_small_products
from tests.quantize.conftest import sqnr

made_of: Any = openvino.Model  # its stub takes no arguments
ROUNDED = {"INFERENCE_PRECISION_HINT": "f32", "DYNAMIC_QUANTIZATION_GROUP_SIZE": 32}
INPUTS, OUTPUTS = 64, 128
MOST_TOKENS = MOST_PRODUCTS // (INPUTS * OUTPUTS)


def network(tokens: int = MOST_TOKENS, *, turned: bool = False) -> Any:
    random = np.random.default_rng(0)
    x = opset13.parameter([1, tokens, INPUTS], np.float32, "x")
    integers = random.integers(-127, 128, (INPUTS, OUTPUTS)).astype(np.int8)
    scales = random.uniform(0.5, 1.5, (1, OUTPUTS)).astype(np.float32) / 512
    if turned:
        integers, scales = np.ascontiguousarray(integers.T), scales.T.copy()
    weight = opset13.multiply(opset13.convert(opset13.constant(integers, name="q"), "f32"), opset13.constant(scales))
    y = opset13.matmul(x, weight, False, turned, name="net.linear/MatMul")
    return made_of([opset13.relu(y)], [x], "made")


def drawn(model: Any) -> tuple[np.ndarray, set[str]]:
    """Return the output, and the kinds of operations that the runtime made of the layers."""
    compiled = openvino.Core().compile_model(model, "CPU", {**ROUNDED, "PERF_COUNT": True})
    request = compiled.create_infer_request()
    x = np.random.default_rng(1).standard_normal(model.input(0).shape).astype(np.float32)
    output = np.array(request.infer([x])[0])
    return output, {info.node_type for info in request.profiling_info if "FullyConnected" in info.node_type}


def plainly(model: Any) -> np.ndarray:
    config = {**ROUNDED, "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0}
    x = np.random.default_rng(1).standard_normal(model.input(0).shape).astype(np.float32)
    return np.array(openvino.Core().compile_model(model, "CPU", config)([x])[0])


@pytest.mark.parametrize("turned", [False, True])
def test_a_small_layer_is_float_at_load_and_int8_in_the_file(turned):
    model = network(turned=turned)
    assert widen_small_products(model) == 1
    output, kinds = drawn(model)
    assert kinds == {"FullyConnected"}
    assert sqnr(plainly(network(turned=turned)), output) > 110
    (integers,) = (op for op in model.get_ordered_ops() if op.get_friendly_name() == "q")
    assert integers.get_element_type().to_string() == "i8"


def test_a_larger_layer_stays_compressed():
    model = network(MOST_TOKENS + 1)
    assert widen_small_products(model) == 0
    assert drawn(model)[1] == {"FullyConnectedCompressed"}


def test_any_number_of_tokens_is_left():
    model = network()
    model.reshape({0: openvino.PartialShape([1, -1, INPUTS])})
    assert widen_small_products(model) == 0
