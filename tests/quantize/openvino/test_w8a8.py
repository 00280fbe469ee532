"""What the IR holds after quantization, read with openvino alone, by topology and not by name."""

from typing import Any

import numpy as np
import openvino
import pytest
from openvino import opset13

from edgestep.artifact import BadInput
from edgestep.quantize.openvino.naive import quantize_openvino_naive
from edgestep.quantize.openvino.w8a8 import quantize_openvino_w8a8
from tests.quantize.conftest import feeds_of

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


def test_linear_layers_have_int8_weights_and_activations_rounded_as_they_come(w8a8):
    model = openvino.Core().read_model(w8a8("openvino", "split") / "unet" / "openvino_model.xml")
    assert model.get_rt_info(["runtime_options", "DYNAMIC_QUANTIZATION_GROUP_SIZE"]).astype(str) == "32"
    ops = model.get_ordered_ops()
    linears = {op.get_friendly_name(): op for op in ops if op.get_type_name() == "MatMul"}
    assert not any(is_quantized(op) for op in linears.values())
    integers = {name.split("/")[0].rsplit(".", 1)[-1] for name, op in linears.items() if weight_type(op) == "i8"}
    assert {"to_q", "joined", "proj"} <= integers  # q of attn2 alone reads what no other does
    assert not integers & {"attn1", "attn2", "to_k", "to_v"}


def weight_type(op) -> str:
    """Return the type of the constant that an operation's second input is unpacked from, "" for none."""
    node = op.input_value(1).get_node()
    while node.get_type_name() in ("Reshape", "Multiply", "Convert"):
        node = node.input_value(0).get_node()
    return node.get_element_type().to_string() if node.get_type_name() == "Constant" else ""


MOVES = ("Reshape", "Transpose", "Concat")
"""What changes no number: NNCF may quantize in front of it."""


def sources(port) -> list:
    """Return the nodes that an input's numbers come from, before anything that only moves them."""
    node = port.get_node()
    if node.get_type_name() not in MOVES:
        return [node]
    read = range(node.get_input_size()) if node.get_type_name() == "Concat" else [0]
    return [source for i in read for source in sources(node.input_value(i))]


def has_one_scale(node) -> bool:
    """Tell whether a node rounds to 8 bits, a FakeQuantize or an int8 constant unpacked, by one scale in all."""
    if node.get_type_name() == "FakeQuantize":
        return node.get_attributes()["levels"] <= 256 and all(
            np.prod(node.input_value(i).get_shape()) == 1 for i in (1, 2, 3, 4)
        )
    unpacked = [node.input_value(i).get_node() for i in range(node.get_input_size())]
    kinds = [node.get_type_name(), *(each.get_type_name() for each in unpacked)]
    if kinds != ["Multiply", "Convert", "Constant"]:
        return False
    integers = unpacked[0].input_value(0).get_node()
    return integers.get_element_type() == openvino.Type.i8 and np.prod(unpacked[1].get_output_shape(0)) == 1


def test_the_control_leaves_no_layer_float_and_each_tensor_has_one_scale(float_artifact, tmp_path):
    """Every layer of a UNet: convolutions, linear layers, attention, conv_in and conv_out."""
    parent = float_artifact("openvino", "split")
    source, made = parent / "unet" / "openvino_model.xml", tmp_path / "made.xml"
    said = quantize_openvino_naive(source, made, feeds_of(parent, 2)["unet"])
    floats, quantized = (openvino.Core().read_model(path).get_ordered_ops() for path in (source, made))
    layers = {op.get_friendly_name(): op for op in quantized if op.get_type_name() in ("Convolution", "MatMul")}
    names = [op.get_friendly_name() for op in floats if op.get_type_name() in ("Convolution", "MatMul")]
    assert (sorted(said.layers), said.floats) == (sorted(names), {})
    assert sorted(layers) == sorted(names)
    read = {name: [node for i in (0, 1) for node in sources(op.input_value(i))] for name, op in layers.items()}
    assert [name for name, nodes in read.items() if not all(map(has_one_scale, nodes))] == []
    before = [sources(op.input_value(0))[0] for op in floats if op.get_friendly_name() in layers]
    assert not any(map(has_one_scale, before))


def test_the_control_leaves_the_inside_of_a_norm_whole(emoji_exports, tmp_path):
    """Written out, a norm has sums and products that NNCF would round, and no plain INT8 does."""
    source, made = emoji_exports("openvino", "split") / "vae_decoder/openvino_model.xml", tmp_path / "made.xml"
    quantize_openvino_naive(source, made, [{"latent_sample": np.random.default_rng(0).standard_normal((1, 16, 8, 8))}])
    ops = openvino.Core().read_model(made).get_ordered_ops()
    norms = {op.get_friendly_name().rpartition("/")[0] for op in ops if op.get_type_name() == "ReduceMean"}
    assert len(norms) == 12
    inside = [op for op in ops if op.get_friendly_name().rpartition("/")[0] in norms]
    rounded = {
        op.get_friendly_name()
        for op in inside
        for i in range(op.get_input_size())
        if op.input_value(i).get_node().get_type_name() == "FakeQuantize"
    }
    assert rounded == set()
    assert sum(op.get_type_name() == "FakeQuantize" for op in ops) > 30


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
