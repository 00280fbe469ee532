"""Probes on a graph written by hand: what is inside, and each piece by itself, against numpy."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgestep.artifact import BadInput
from edgestep.runtimes.probe import Probe
from edgestep.runtimes.registry import open_probe

TWO = np.full((1,), 2, np.float32)
X = np.array([[1.0, -2.0, 3.0]], np.float32)
REFERENCE = np.array([[5.0, 6.0, -7.0]], np.float32)


def save(folder: Path, *, external: bool = False) -> Path:
    """Write y = relu(2 x) + 2 x: the middle value has two readers."""
    nodes = [
        helper.make_node("Mul", ["x", "two"], ["twice"], name="a/Mul"),
        helper.make_node("Relu", ["twice"], ["kept"], name="b/Relu"),
        helper.make_node("Add", ["kept", "twice"], ["y"], name="c/Add"),
    ]
    told = [helper.make_tensor_value_info(name, TensorProto.FLOAT, (1, 3)) for name in ("x", "y")]
    graph = helper.make_graph(nodes, "g", told[:1], told[1:], [numpy_helper.from_array(TWO, "two")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    folder.mkdir(exist_ok=True)
    options = {"save_as_external_data": True, "location": "model.data", "size_threshold": 0} if external else {}
    onnx.save_model(model, folder / "model.onnx", **options)
    return folder / "model.onnx"


def value(probe: Probe, node: str) -> str:
    return next(one.outputs[0] for one in probe.view.nodes if one.name == node)


@pytest.fixture(params=["onnxruntime", "onnxruntime external", "openvino"])
def probe(request: pytest.FixtureRequest, tmp_path: Path) -> Probe:
    runtime, _, external = request.param.partition(" ")
    return open_probe(runtime, save(tmp_path / "model", external=bool(external)), threads=1)


def test_the_graph_is_seen_in_order_without_constants(probe: Probe):
    view = probe.view
    twice = value(probe, "a/Mul")
    assert [node.op for node in view.nodes][:2] in (["Mul", "Relu"], ["Multiply", "Relu"])
    assert view.shapes[twice] == (1, 3)
    assert sum(twice in node.inputs for node in view.nodes) == 2
    assert len(view.inputs) == 1
    assert view.shape("y") == (1, 3)
    assert twice not in view.constants


def test_exposed_values_are_those_of_the_whole_graph(probe: Probe):
    values = [value(probe, "b/Relu"), value(probe, "a/Mul"), view_output(probe)]
    got = probe.exposed(values)({"x": X})
    assert list(got) == values
    for name, expected in zip(values, (np.maximum(2 * X, 0), 2 * X, np.maximum(2 * X, 0) + 2 * X), strict=True):
        np.testing.assert_array_equal(got[name], expected)


def test_cut_pieces_read_what_is_fed_in_place_of_each_value(probe: Probe):
    twice, kept = value(probe, "a/Mul"), value(probe, "b/Relu")
    values = [twice, kept, view_output(probe)]
    got = probe.cut(values)({"x": X}, {twice: REFERENCE, kept: -REFERENCE, values[2]: X})
    np.testing.assert_array_equal(got[twice], 2 * X)
    np.testing.assert_array_equal(got[kept], np.maximum(REFERENCE, 0))
    np.testing.assert_array_equal(got[values[2]], np.zeros_like(REFERENCE))  # -reference + reference


def view_output(probe: Probe) -> str:
    return probe.view.outputs["y"]


def test_the_file_itself_is_not_changed(tmp_path: Path):
    path = save(tmp_path / "model")
    before = path.read_bytes()
    one = open_probe("onnxruntime", path)
    one.cut([value(one, "a/Mul")])
    assert path.read_bytes() == before


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_what_is_no_model_is_bad_input(tmp_path: Path, runtime: str):
    path = tmp_path / "model.onnx"
    path.write_bytes(b"no model")
    with pytest.raises(BadInput, match=r"model\.onnx"):
        open_probe(runtime, path)


def test_another_runtime_is_bad_input(tmp_path: Path):
    with pytest.raises(BadInput, match="expected one of onnxruntime, openvino"):
        open_probe("tensorrt", tmp_path)
