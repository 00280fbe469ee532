"""What each layer is fed, piece by piece, against the whole graph run at once."""

from typing import Any

import numpy as np
import openvino
import pytest
from openvino import opset13

from edgestep.quantize.openvino import segments
from edgestep.quantize.openvino.segments import Order, Stream

Model: Any = openvino.Model  # its stub takes no arguments
LAYERS = ("unet.one/Conv", "unet.two/Conv", "unet.three/Conv", "unet.four/MatMul")


def numbers(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def graph(scale: float = 1.0) -> Any:
    """Return layers of two inputs, with a skip over two of them, a split and constants that are computed.

    `scale` is what the second kernel is multiplied with.
    """
    x = opset13.parameter([1, 8, 4, 4], openvino.Type.f32, name="x")
    t = opset13.parameter([], openvino.Type.f32, name="t")
    for fed in (x, t):
        fed.output(0).set_names({fed.get_friendly_name()})
    one = _convolution(opset13.multiply(x, t), LAYERS[0], opset13.constant(numbers(8, 8, 1, 1)))
    halves = opset13.split(one, opset13.constant(1), 2)
    kernel = opset13.multiply(opset13.constant(numbers(4, 4, 1, 1, seed=1)), opset13.constant(np.float32(scale)))
    two = _convolution(halves.output(0), LAYERS[1], kernel)
    three = _convolution(
        opset13.concat([two, halves.output(1)], 1), LAYERS[2], opset13.constant(numbers(8, 8, 1, 1, seed=2))
    )
    rows = opset13.reshape(opset13.add(three, one), opset13.constant([1, 8, 16]), special_zero=False)
    four = opset13.matmul(rows, opset13.constant(numbers(16, 4, seed=3)), False, False, name=LAYERS[3])
    model = Model([four], [x, t])
    for i, op in enumerate(model.get_ordered_ops()):
        if op.get_friendly_name() not in LAYERS:
            op.set_friendly_name(f"{op.get_type_name()}_{i}")  # OpenVINO numbers by a counter of the process
    return model


def _convolution(value: Any, name: str, kernel: Any) -> Any:
    return opset13.convolution(value, kernel, [1, 1], [0, 0], [0, 0], [1, 1], name=name)


def fed_at_once(model: Any, feed: dict[str, np.ndarray]) -> list[np.ndarray]:
    ops = {op.get_friendly_name(): op for op in model.get_ops()}
    part = Model([opset13.result(ops[layer].input_value(0)) for layer in LAYERS], model.get_parameters())
    outputs = openvino.Core().compile_model(part, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(feed)
    return [outputs[i].copy() for i in range(len(LAYERS))]


def feeds(count: int) -> list[dict[str, np.ndarray]]:
    return [{"x": numbers(1, 8, 4, 4, seed=10 + i), "t": np.array(1 + i, np.float32)} for i in range(count)]


@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_each_layer_is_fed_what_the_whole_graph_feeds_it(scale):
    stream, given = Stream(graph(scale), Order(graph()), feeds(3)), feeds(3)
    expected = [fed_at_once(graph(scale), feed) for feed in given]
    for i, layer in enumerate(LAYERS):
        stream.advance(layer)
        for one, other in zip(stream.fed(layer), expected, strict=True):
            np.testing.assert_allclose(one, other[i], rtol=1e-5, atol=1e-5)


def test_a_fork_goes_on_through_another_graph():
    order, given = Order(graph()), feeds(2)
    stream = Stream(graph(), order, given)
    stream.advance(LAYERS[1])
    forked = stream.forked(graph(0.5))
    assert [np.array_equal(*pair) for pair in zip(stream.fed(LAYERS[1]), forked.fed(LAYERS[1]), strict=True)] == [
        True
    ] * 2
    for each, scale in ((stream, 1.0), (forked, 0.5)):
        each.advance(LAYERS[3])
        for one, feed in zip(each.fed(LAYERS[3]), given, strict=True):
            np.testing.assert_allclose(one, fed_at_once(graph(scale), feed)[3], rtol=1e-5, atol=1e-5)


def test_samples_that_do_not_fit_are_left_out_evenly(monkeypatch):
    monkeypatch.setattr(segments, "MOST_BYTES", 4 * 8 * 16 * 4)  # four of what the first layer is fed
    given = feeds(8)
    stream = Stream(graph(), Order(graph()), given)
    stream.advance(LAYERS[0])
    assert stream.samples == 4
    for one, i in zip(stream.fed(LAYERS[0]), (0, 2, 4, 6), strict=True):
        np.testing.assert_allclose(one, given[i]["x"] * given[i]["t"], rtol=1e-6)
