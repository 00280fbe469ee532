"""Columns of a weight that are far smaller than the rest: the scales, and what they save in both formats."""

import numpy as np
import onnx
import openvino
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgestep.quantize.onnx.small_columns import lift_small_columns
from edgestep.quantize.onnx.weight_only import quantize_onnx_weights
from edgestep.quantize.onnx.weights import Initializers, weights_of
from edgestep.quantize.openvino.weight_only import quantize_openvino_weights
from edgestep.quantize.small_columns import SMALL, column_scales
from edgestep.quantize.widths import WIDTHS
from tests.quantize.conftest import sqnr

TIMES = 200.0
CHANNEL = 5
DRAWN = np.random.default_rng(0)


def uneven(*shape: int, axis: int) -> np.ndarray:
    values = DRAWN.standard_normal(shape).astype(np.float32)
    np.moveaxis(values, axis, 0)[CHANNEL] /= TIMES
    return values


def saved(folder, kernel: np.ndarray, matrix: np.ndarray, dtype=np.float32) -> None:
    """x -> a convolution -> a linear layer over the last axis, each with a small column."""
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    nodes = [
        helper.make_node("Conv", ["x", "kernel"], ["a"], name="net.conv/Conv", pads=[1, 1, 1, 1]),
        helper.make_node("MatMul", ["x", "matrix"], ["b"], name="net.linear/MatMul"),
        helper.make_node("Neg", ["a"], ["seen"], name="net/Neg"),
        helper.make_node("Neg", ["b"], ["y"], name="net/Neg_1"),
    ]
    ends = [helper.make_tensor_value_info(name, kind, shape) for name, shape in (("x", (1, 32, 8, 32)),)]
    outputs = [helper.make_tensor_value_info(name, kind, None) for name in ("seen", "y")]
    tensors = [numpy_helper.from_array(v.astype(dtype), n) for n, v in (("kernel", kernel), ("matrix", matrix))]
    made = helper.make_graph(nodes, "made", ends, outputs, tensors)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.save(onnx.shape_inference.infer_shapes(model), folder / "model.onnx")
    if dtype == np.float32:
        openvino.save_model(openvino.Core().read_model(folder / "model.onnx"), folder / "model.xml", False)


def fed() -> np.ndarray:
    """Large where the weights are small: in the convolution's channels, and in the linear layer's."""
    x = DRAWN.standard_normal((1, 32, 8, 32)).astype(np.float32)
    x[:, CHANNEL] *= TIMES
    x[..., CHANNEL] *= TIMES
    return x


def run(path, x: np.ndarray) -> list[np.ndarray]:
    compiled = openvino.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return [np.asarray(value) for value in compiled([x]).values()]


WRITERS = {"onnx": (quantize_onnx_weights, "model.onnx"), "openvino": (quantize_openvino_weights, "model.xml")}


@pytest.mark.parametrize("form", list(WRITERS))
@pytest.mark.parametrize("width", ["w8", "w4-32"])
def test_a_channel_with_small_weights_is_not_lost(tmp_path, form: str, width: str):
    write, name = WRITERS[form]
    saved(tmp_path, uneven(16, 32, 3, 3, axis=1), uneven(32, 48, axis=0))
    (tmp_path / "out").mkdir()
    widths = dict.fromkeys(("net.conv/Conv", "net.linear/MatMul"), WIDTHS[width])
    if form == "openvino":
        known = openvino.Core().read_model(tmp_path / name).get_ordered_ops()
        widths = {
            op.get_friendly_name(): WIDTHS[width] for op in known if op.get_type_name() in ("Convolution", "MatMul")
        }
    said = write(tmp_path / name, tmp_path / "out" / name, (), (), widths)
    assert "small columns of 2 lifted" in said.how
    x = fed()
    # Rounded with the others, the column of the large channel keeps one bit or none: 8 bits then have 10 dB.
    least = {"w8": 38.0, "w4-32": 14.0}[width]
    for one, other in zip(run(tmp_path / name, x), run(tmp_path / "out" / name, x), strict=True):
        assert sqnr(one, other) > least


def test_scales_are_over_the_median_and_1_for_the_usual():
    values = np.ones((4, 9), np.float32)
    values[:, 2], values[:, 4], values[:, 7] = 1 / (2 * SMALL), 2 / SMALL, 0.0
    found = column_scales(values, 1)
    assert found is not None and found.dtype == np.float32
    assert found[2] == pytest.approx(1 / (2 * SMALL))
    assert (np.delete(found, 2) == 1).all()
    assert column_scales(np.delete(values, 2, axis=1), 1) is None
    assert column_scales(np.zeros((4, 9)), 1) is None
    assert np.array_equal(column_scales(values.T, 0), found)


def test_float16_weights_and_a_weight_that_two_layers_read(tmp_path):
    """Two layers that read one weight would need two of it: it stays."""
    kernel, matrix = uneven(16, 32, 3, 3, axis=1), uneven(32, 48, axis=0)
    saved(tmp_path, kernel, matrix, np.float16)
    model = onnx.load(tmp_path / "model.onnx")
    model.graph.node.append(helper.make_node("MatMul", ["x", "matrix"], ["z"], name="net.again/MatMul"))
    initializers = Initializers(tmp_path / "model.onnx", model)
    lifted = lift_small_columns(model, initializers, weights_of(model))
    assert lifted.keys() == {"kernel"}
    divided = Initializers(tmp_path / "model.onnx", model, lifted)
    assert divided.array("kernel").dtype == np.float16
    times = np.abs(divided.array("kernel")[:, CHANNEL]).max() / np.abs(kernel[:, CHANNEL]).max()
    assert TIMES / 2 < times < TIMES * 2
    assert np.array_equal(divided.array("matrix"), initializers.array("matrix"))
    names = [node.name for node in model.graph.node]
    assert names[:3] == ["net.conv/Conv/smooth_quant", "net.conv/Conv", "net.linear/MatMul"]
    assert sum("smooth_quant" in name for name in names) == 1
    scale = next(tensor for tensor in model.graph.initializer if tensor.name == "net.conv/Conv/smooth_quant/scale")
    assert scale.data_type == TensorProto.FLOAT16
