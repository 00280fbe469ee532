"""Large channels divided in front of a layer and multiplied in its weights: the same function, an even range."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgestep.quantize.large_channels import LARGE, scales
from edgestep.quantize.onnx.editing import Graph
from edgestep.quantize.onnx.large_channels import split_large_channels
from edgestep.runtimes.onnx_probe import OnnxProbe

DRAWN = np.random.default_rng(0)
CHANNELS = 32


def weight(*shape: int) -> np.ndarray:
    return DRAWN.standard_normal(shape).astype(np.float32)


def graph_of(operator: str, **attributes: int) -> tuple[Graph, tuple[int, ...]]:
    """Two layers that read one tensor, and a Relu that reads it too."""
    shapes = {"Conv": (1, CHANNELS, 4, 4), "MatMul": (1, 5, CHANNELS), "Gemm": (5, CHANNELS)}
    kernel = {"Conv": (8, CHANNELS, 3, 3), "MatMul": (CHANNELS, 8), "Gemm": (8, CHANNELS)}[operator]
    nodes = [helper.make_node("Identity", ["x"], ["read"], name="net/Identity")]
    nodes += [
        helper.make_node(operator, ["read", f"w{i}"], [f"y{i}"], name=f"net.{i}/{operator}", **attributes)
        for i in range(2)
    ]
    nodes.append(helper.make_node("Relu", ["read"], ["y2"], name="net/Relu"))
    shape = shapes[operator]
    made = helper.make_model(
        helper.make_graph(
            nodes,
            "made",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info(f"y{i}", TensorProto.FLOAT, None) for i in range(3)],
            [numpy_helper.from_array(weight(*kernel), f"w{i}") for i in range(2)],
        ),
        opset_imports=[helper.make_opsetid("", 20)],
        ir_version=10,
    )
    return Graph(onnx.shape_inference.infer_shapes(made)), shape


def fed(shape: tuple[int, ...], axis: int, times: float) -> np.ndarray:
    """Numbers of which channel 3 is so many times larger."""
    x = DRAWN.uniform(-1, 1, shape).astype(np.float32)
    np.moveaxis(x, axis, 0)[3] *= times
    return x


def run(model: onnx.ModelProto, x: np.ndarray, *more: str) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return list(session.run([f"y{i}" for i in range(3)], {"x": x}))


@pytest.mark.parametrize(
    ("operator", "axis", "attributes"),
    [("Conv", 1, {"pads": [1, 1, 1, 1]}), ("MatMul", -1, {}), ("Gemm", -1, {"transB": 1})],
)
def test_keeps_the_function_and_evens_out_what_the_layers_read(operator: str, axis: int, attributes: dict):
    graph, shape = graph_of(operator, **attributes)
    x = fed(shape, axis, 100.0)
    before = run(graph.model, x)
    names = ("net.0/" + operator, "net.1/" + operator)
    assert split_large_channels(graph, names, [{"x": x}]) == names
    onnx.checker.check_model(graph.model, full_check=True)
    for one, other in zip(before, run(graph.model, x), strict=True):
        assert np.abs(one - other).max() < 1e-5 * np.abs(one).max()
    (divided,) = [node for node in graph.graph.node if node.op_type == "Mul"]
    assert {node.name for node in graph.graph.node if divided.output[0] in node.input} == set(names)
    inverse = graph.value(divided.input[1]).reshape(-1)
    # A weight of the usual size and a channel of 100 times: the square root is taken from the one to the other.
    assert 5 < 1 / inverse[3] < 20
    assert (np.delete(inverse, 3) == 1).all()


def test_leaves_alone_what_has_no_large_channel():
    graph, shape = graph_of("MatMul")
    before = graph.model.SerializeToString()
    assert split_large_channels(graph, ["net.0/MatMul", "net.1/MatMul"], [{"x": fed(shape, -1, LARGE / 4)}]) == ()
    assert graph.model.SerializeToString() == before


def test_touches_only_the_layers_that_are_named():
    graph, shape = graph_of("MatMul")
    assert split_large_channels(graph, ["net.1/MatMul"], [{"x": fed(shape, -1, 100)}]) == ("net.1/MatMul",)
    assert next(node for node in graph.graph.node if node.name == "net.0/MatMul").input[0] == "read"


def test_scales_are_smoothquants_over_the_usual_ones():
    """Equation 4 with alpha 0.5: sqrt(max|X| / max|W|)."""
    largest, reach = np.full(9, 2.0), np.full(9, 0.5)
    largest[4], reach[4] = 200.0, 0.005
    largest[0], largest[1] = 0.0, 2 * LARGE
    found = scales(largest, reach)
    assert found[4] == pytest.approx(100.0)
    assert (np.delete(found, 4) == 1).all()
    assert (scales(np.zeros(4), np.ones(4)) == 1).all()


def test_a_bisection_reads_through_it(tmp_path):
    graph, shape = graph_of("MatMul")
    split_large_channels(graph, ["net.0/MatMul"], [{"x": fed(shape, -1, 100)}])
    onnx.save(graph.model, tmp_path / "model.onnx")
    through = [node.name for node in OnnxProbe(tmp_path / "model.onnx").view.nodes if node.changes_numbers_only]
    assert through == ["net.0/MatMul/smooth_quant"]
