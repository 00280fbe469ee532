"""Samples on their way through a graph, piece by piece, against the graph run at once; how many there is room for."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgestep.artifact import BadInput
from edgestep.quantize.onnx import moments, segments
from edgestep.quantize.onnx.segments import FEWEST, Stream, advance
from edgestep.quantize.onnx.weights import weights_of

SIZE = 8
LAYERS = ("first", "second", "third")


def graph() -> onnx.ModelProto:
    """Three linear layers with a Tanh between, and a sum that reads far back."""
    random = np.random.default_rng(0)
    names, nodes, weights = "x", [], []
    for layer in LAYERS:
        nodes += [
            helper.make_node("MatMul", [names, f"{layer}.weight"], [layer], name=f"net.{layer}/MatMul"),
            helper.make_node("Tanh", [layer], [f"{layer}.out"], name=f"net.{layer}/Tanh"),
        ]
        names = f"{layer}.out"
        weights.append(numpy_helper.from_array(random.standard_normal((SIZE, SIZE)).astype("f4"), f"{layer}.weight"))
    nodes.append(helper.make_node("Add", [names, "first.out"], ["y"], name="net/Add"))
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, (2, SIZE)) for name in ("x", "y")]
    made = helper.make_graph(nodes, "made", ends[:1], ends[1:], weights)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def feeds(count: int) -> list[dict[str, np.ndarray]]:
    random = np.random.default_rng(1)
    return [{"x": random.standard_normal((2, SIZE)).astype(np.float32)} for _ in range(count)]


def stream_of(model: onnx.ModelProto, given: list[dict[str, np.ndarray]]) -> Stream:
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    return Stream(model, given, weights.__getitem__)


def at_once(model: onnx.ModelProto, name: str, feed: dict[str, np.ndarray]) -> np.ndarray:
    model = onnx.ModelProto.FromString(model.SerializeToString())
    model.graph.output.append(onnx.ValueInfoProto(name=name))
    return np.asarray(onnxruntime.InferenceSession(model.SerializeToString()).run([name], feed)[0])


def test_piece_by_piece_is_at_once():
    model, given = graph(), feeds(3)
    stream = stream_of(model, given)
    for place, name in ((2, "first.out"), (4, "second.out"), (6, "third.out")):
        stream.advance(place)
        for value, feed in zip(stream.values(name, name), given, strict=True):
            np.testing.assert_allclose(value, at_once(model, name, feed), rtol=1e-5, atol=1e-6)
    # What the sum reads is kept, what nothing reads any more is gone, and so is a weight's turn.
    assert stream.reads_later("first.out") and not stream.reads_later("second.weight")
    with pytest.raises(KeyError):
        next(iter(stream.values("second.out", "second")))


def test_all_streams_keep_the_samples_that_fit_into_the_fuller_one(monkeypatch):
    model, given = graph(), feeds(12)
    ahead, behind = stream_of(model, given), stream_of(model, given)
    monkeypatch.setattr(segments, "MOST_BYTES", 5 * 2 * 2 * SIZE * 4)  # five samples of two values of [2, SIZE]
    assert behind.fits == 10
    advance({ahead: 4, behind: 0})
    assert (ahead.fits, ahead.samples, behind.samples) == (5, 5, 5)
    for value, i in zip(behind.values("x", "net.first"), (0, 2, 4, 7, 9), strict=True):
        assert np.array_equal(value, given[i]["x"])
    monkeypatch.setattr(segments, "MOST_BYTES", 1)
    assert ahead.fits == FEWEST
    ahead.leave_out(ahead.fits)
    assert ahead.samples == FEWEST
    ahead.leave_out(7)
    assert ahead.samples == FEWEST


def test_names_the_layer_and_the_sample_that_is_not_finite():
    model, given = graph(), feeds(3)
    given[1]["x"][0, 2] = np.inf
    with pytest.raises(BadInput, match=r"in front of net\.first in calibration sample 1"):
        list(stream_of(model, given).values("x", "net.first"))


def test_a_layer_of_too_many_columns_is_not_corrected(monkeypatch):
    """Its Hessian would take gigabytes: it is rounded to nearest."""
    model = graph()
    weight = weights_of(model, fewest=1)[0]
    node = model.graph.node[weight.node]
    for most, has in ((SIZE, True), (SIZE - 1, False)):
        monkeypatch.setattr(moments, "MOST_COLUMNS", most)
        assert moments.has_moments(weight, node) is has
        assert moments.has_rows(weight, node)
