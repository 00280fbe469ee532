"""What the IR holds after quantization, read with openvino alone, by topology and not by name."""

from typing import Any

import numpy as np
import openvino
import pytest
from openvino import opset13

from edgestep.artifact import BadInput
from edgestep.quantize.openvino.w8a8 import quantize_openvino_w8a8

made_of: Any = openvino.Model  # its stub takes no arguments
GRAPHS = [
    ("split", "unet/openvino_model.xml", "sample", True),
    ("split", "vae_decoder/openvino_model.xml", "latent_sample", True),
    ("split", "text_encoder/openvino_model.xml", "input_ids", False),
    ("fused", "generator.xml", "noise", True),
]


def convolutions(path) -> list:
    return [op for op in openvino.Core().read_model(path).get_ordered_ops() if op.get_type_name() == "Convolution"]


def is_quantized(op) -> bool:
    return op.input_value(0).get_node().get_type_name() == "FakeQuantize"


def reaches(op, stop: str) -> bool:
    """Say whether the input `stop` flows into `op` with no other convolution between."""
    waiting = [op.input_value(0).get_node()]
    seen = set()
    while waiting:
        node = waiting.pop()
        if node.get_friendly_name() == stop:
            return True
        if node.get_type_name() != "Convolution" and node.get_friendly_name() not in seen:
            seen.add(node.get_friendly_name())
            waiting += [node.input_value(i).get_node() for i in range(node.get_input_size())]
    return False


@pytest.mark.parametrize(("layout", "file", "name", "has_convolutions"), GRAPHS)
def test_first_and_last_convolution_stay_float(w8a8, layout, file, name, has_convolutions):
    found = convolutions(w8a8("openvino", layout) / file)
    assert bool(found) == has_convolutions
    if found:
        first = [op for op in found if reaches(op, name)]
        assert first
        assert not any(is_quantized(op) for op in [*first, found[-1]])
        assert sum(map(is_quantized, found)) >= len(found) / 2


@pytest.mark.parametrize(("layout", "file", "name", "has_convolutions"), GRAPHS)
def test_the_interface_is_the_parents(float_artifact, w8a8, layout, file, name, has_convolutions):
    def interface(folder) -> list:
        model = openvino.Core().read_model(folder / file)
        return [
            (port.get_names(), str(port.element_type), str(port.partial_shape)) for port in model.inputs + model.outputs
        ]

    got = interface(w8a8("openvino", layout))
    assert got == interface(float_artifact("openvino", layout))
    assert any(name in names for names, _, _ in got)
    assert has_convolutions or len(got) == 2


def test_linear_layers_have_int8_weights_and_float_activations(w8a8):
    ops = openvino.Core().read_model(w8a8("openvino", "split") / "unet" / "openvino_model.xml").get_ordered_ops()
    linears = {op.get_friendly_name(): op for op in ops if op.get_type_name() == "MatMul"}
    assert not any(is_quantized(op) for op in linears.values())
    integers = {name.split("/")[0].rsplit(".", 1)[-1] for name, op in linears.items() if weight_type(op) == "i8"}
    assert {"to_q", "to_k", "to_v", "proj"} <= integers
    assert not integers & {"attn1", "attn2"}


def weight_type(op) -> str:
    """Return the type of the constant that an operation's second input is unpacked from, "" for none."""
    node = op.input_value(1).get_node()
    while node.get_type_name() in ("Reshape", "Multiply", "Convert"):
        node = node.input_value(0).get_node()
    return node.get_element_type().to_string() if node.get_type_name() == "Constant" else ""


def test_the_control_leaves_nothing_float_and_has_one_scale_a_tensor(tmp_path):
    from edgestep.quantize.openvino.naive import quantize_openvino_naive

    source, made = tmp_path / "model.xml", tmp_path / "made.xml"
    random = np.random.default_rng(0)
    value = fed = opset13.parameter([1, 16, 8, 8], openvino.Type.f32, name="x")
    fed.output(0).set_names({"x"})
    for name in ("conv_in", "mid_block.conv", "conv_out"):  # w8a8 leaves the first and the last float
        kernel = opset13.constant(random.standard_normal((16, 16, 3, 3)).astype(np.float32) / 12)
        value = opset13.convolution(value, kernel, [1, 1], [1, 1], [1, 1], [1, 1], name=f"unet.{name}/Conv")
        value = opset13.tanh(value)
    openvino.save_model(made_of([value], [fed]), source, compress_to_fp16=False)
    feeds = [{"x": random.standard_normal((1, 16, 8, 8)).astype(np.float32)} for _ in range(4)]
    said = quantize_openvino_naive(source, made, feeds)
    assert len(said.layers) == 3
    assert not said.floats
    quantizers = [
        op for op in openvino.Core().read_model(made).get_ordered_ops() if op.get_type_name() == "FakeQuantize"
    ]
    assert len(quantizers) >= 3
    assert all(np.prod(op.input_value(i).get_shape()) == 1 for op in quantizers for i in (1, 2, 3, 4))
    assert all(is_quantized(op) for op in convolutions(made))
    assert not any(is_quantized(op) for op in convolutions(source))


def test_names_the_layer_that_is_fed_nan(tmp_path):
    fed = opset13.parameter([1, 16, 4, 4], openvino.Type.f32, name="x")
    fed.output(0).set_names({"x"})
    value = opset13.add(fed, opset13.constant(np.full((1, 16, 1, 1), np.nan, np.float32)))
    kernel = opset13.constant(np.ones((16, 16, 3, 3), np.float32))
    value = opset13.convolution(value, kernel, [1, 1], [1, 1], [1, 1], [1, 1], name="unet.mid.conv/Conv")
    openvino.save_model(made_of([value], [fed]), tmp_path / "model.xml", compress_to_fp16=False)
    feeds = [{"x": np.ones((1, 16, 4, 4), np.float32)}] * 2
    with pytest.raises(BadInput, match=r"got NaN or infinity in front of unet\.mid\.conv/Conv"):
        quantize_openvino_w8a8(tmp_path / "model.xml", tmp_path / "made.xml", feeds)
    assert not (tmp_path / "made.xml").exists()
