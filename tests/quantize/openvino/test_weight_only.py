"""Weights alone of OpenVINO IR: what the CPU plugin computes with, GPTQ against rounding to nearest, and refusals."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import openvino
import pytest
from openvino import opset13

from edgestep.artifact import BadInput
from edgestep.quantize.openvino.moments import rows_of
from edgestep.quantize.openvino.packing import BITS, unpacked
from edgestep.quantize.openvino.weight_only import (
    layer_bytes,
    openvino_weights,
    quantize_openvino_w4,
    quantize_openvino_w8,
    quantize_openvino_weights,
    widths_w4,
)
from edgestep.quantize.openvino.weights import Weight
from edgestep.quantize.rounding import rounded
from edgestep.quantize.widths import WIDTHS, Width

SHAPES = {
    "Convolution": (32, 16, 3, 3),
    "ConvolutionBackpropData": (16, 32, 3, 3),
    "GroupConvolution": (4, 8, 16, 3, 3),
    "MatMul": (128, 64),
    "Gather": (50, 128),
}
NAME = "unet.mid.conv/Conv"
Model: Any = openvino.Model  # its stub takes no arguments


def compiled(model: Any):
    return openvino.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1})


def numbers(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("kind", SHAPES)
@pytest.mark.parametrize("width", [width for width in WIDTHS.values() if width.bits in BITS], ids=lambda w: w.name)
def test_the_plugin_gives_the_rounded_weight_back(kind: str, width: Width):
    weight = Weight(NAME, kind, SHAPES[kind], 0 if kind in ("MatMul", "ConvolutionBackpropData") else 1)
    made = rounded(weight.matrix(numbers(*weight.lies)), width.bits, weight.block(width))
    value = unpacked(weight, made, width, "w")
    got = compiled(Model([opset13.result(value)], []))([])[0]
    assert got.shape == weight.lies
    np.testing.assert_array_equal(weight.matrix(got), made.values)


@pytest.mark.parametrize(("stride", "pads", "dilation"), [(1, (1, 1), 1), (2, (0, 1), 1), (1, (2, 2), 2)])
def test_rows_times_weights_are_what_the_layer_gives(stride: int, pads: tuple[int, int], dilation: int):
    x, w = numbers(1, 8, 9, 9), numbers(4, 8, 3, 3, seed=1)
    fed = opset13.parameter([1, 8, 9, 9], openvino.Type.f32)
    layer = opset13.convolution(
        fed, opset13.constant(w), [stride] * 2, [pads[0]] * 2, [pads[1]] * 2, [dilation] * 2, name=NAME
    )
    out = compiled(Model([layer], [fed]))([x])[0]
    weight = Weight(NAME, "Convolution", w.shape, 1)
    rows = rows_of(weight, layer.get_attributes(), x, most=1000)
    expected = out[0].reshape(4, -1).T
    np.testing.assert_allclose(rows @ weight.matrix(w).T, expected, atol=1e-4)
    few = rows_of(weight, layer.get_attributes(), x, most=7)
    assert len(few) == 7
    assert all((rows == row).all(axis=1).any() for row in few)


def test_few_rows_of_a_picture_are_not_of_one_column():
    """Each n-th pixel of a picture 64 wide is in column 0, the border: that cost the bundled decoder 7 dB."""
    places = np.arange(64 * 64, dtype=np.float32).reshape(1, 1, 64, 64)
    attributes = {"pads_begin": [0, 0], "pads_end": [0, 0], "strides": [1, 1], "dilations": [1, 1]}
    rows = rows_of(Weight(NAME, "Convolution", (1, 1, 1, 1), 1), attributes, places, most=32)
    assert len({int(place) % 64 for place in rows[:, 0]}) > 16


@pytest.fixture
def saved(tmp_path: Path) -> Callable[..., Path]:
    """Return what writes a model of two layers, a convolution and a linear; `spoilt` puts a NaN between them."""

    def save(*, spoilt: bool = False) -> Path:
        fed = opset13.parameter([1, 32, 4, 4], openvino.Type.f32, name="x")
        fed.output(0).set_names({"x"})
        kernel = opset13.constant(numbers(64, 32, 3, 3) / 17)
        value = opset13.convolution(fed, kernel, [1, 1], [1, 1], [1, 1], [1, 1], name=NAME)
        value = opset13.add(value, opset13.constant(np.float32(np.nan if spoilt else 1)))
        value = opset13.reshape(value, opset13.constant([1, 16, 64]), special_zero=False)
        value = opset13.matmul(value, opset13.constant(numbers(64, 32, seed=1)), False, False, name="unet.proj/MatMul")
        openvino.save_model(Model([value], [fed]), tmp_path / "model.xml", compress_to_fp16=False)
        return tmp_path / "model.xml"

    return save


def feeds(count: int = 24) -> list[dict[str, np.ndarray]]:
    """Return samples whose channels hang together, as a network's do: that is what GPTQ lives on."""
    mix = numbers(32, 4, seed=2)
    return [{"x": np.einsum("ok,bkhw->bohw", mix, numbers(1, 4, 4, 4, seed=10 + i))} for i in range(count)]


def test_gptq_errs_less_than_rounding_to_nearest(saved, tmp_path):
    source, error = saved(), {}
    known, unseen = feeds(), feeds(32)[24:]
    expected = [compiled(openvino.Core().read_model(source))(feed)[0].copy() for feed in unseen]
    for name, given in (("nearest", []), ("gptq", known)):
        made = quantize_openvino_w4(source, tmp_path / f"{name}.xml", given, block_size=64)
        network = compiled(openvino.Core().read_model(tmp_path / f"{name}.xml"))
        error[name] = sum(np.sum((network(f)[0] - e) ** 2) for f, e in zip(unseen, expected, strict=True))
        assert ("rounded by GPTQ" in made.how) == bool(given)
    assert error["gptq"] < 0.6 * error["nearest"]


def test_eight_bits_take_back_what_four_bits_did(saved, tmp_path):
    source, error = saved(), {}
    known, unseen = feeds(200), feeds(208)[200:]
    expected = [compiled(openvino.Core().read_model(source))(feed)[0].copy() for feed in unseen]
    for last in ("fp32", "w8"):
        widths = {NAME: WIDTHS["w2-64"], "unet.proj/MatMul": WIDTHS[last]}
        made = quantize_openvino_weights(source, tmp_path / f"{last}.xml", known, (), widths)
        network = compiled(openvino.Core().read_model(tmp_path / f"{last}.xml"))
        error[last] = sum(np.sum((network(f)[0] - e) ** 2) for f, e in zip(unseen, expected, strict=True))
        assert made.how.endswith(f"; {len(made.layers)} rounded by GPTQ")
    assert error["w8"] < error["fp32"]


def test_w4_gives_8_bits_to_the_text_encoder_and_to_the_picture_at_its_largest():
    names = {
        "unet.down_blocks.0.attentions.0.transformer_blocks.0.ff.net.2/MatMul": "w8",
        "unet.down_blocks.0.resnets.0.conv1/Conv": "w8",
        "unet.down_blocks.1.attentions.0.transformer_blocks.0.ff.net.2/MatMul": "w4-128",
        "unet.down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_v/MatMul": "w8",
        "unet.down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k/MatMul": "w4-128",
        "unet.down_blocks.1.attentions.0.proj_in/Conv": "w8",
        "unet.up_blocks.0.resnets.0.conv1/Conv": "w4-128",
        "unet.up_blocks.1.attentions.0.transformer_blocks.0.attn1.to_v/MatMul": "w8",
        "unet.up_blocks.1.resnets.0.conv1/Conv": "w8",
        "unet.up_blocks.1.resnets.1.conv1/Conv": "w4-128",
        "text_encoder.text_model.encoder.layers.0.mlp.fc1/MatMul": "w8",
        "vae.decoder.mid_block.resnets.0.conv1/Conv": "w4-128",
    }
    weights = {name: Weight(name, "MatMul", (128, 128), 0) for name in names}
    assert {name: width.name for name, width in widths_w4(weights, 128).items()} == names
    assert widths_w4({"vae.words/Gather": Weight("vae.words/Gather", "Gather", (9, 128), 1)}, 32) == {
        "vae.words/Gather": WIDTHS["w8"]
    }


def test_the_file_says_no_shape_that_openvino_infers(saved, tmp_path):
    source = saved()
    quantize_openvino_weights(source, tmp_path / "made.xml", (), (), {NAME: WIDTHS["w4-64"]})
    text = (tmp_path / "made.xml").read_text(encoding="utf-8")
    assert "<dim>" not in text
    assert "<dim>" in source.read_text(encoding="utf-8")
    whole, small = (openvino.Core().read_model(path) for path in (source, tmp_path / "made.xml"))
    for one, other in zip(whole.inputs + whole.outputs, small.inputs + small.outputs, strict=True):
        assert one.get_names() == other.get_names()
        assert (one.partial_shape, one.element_type) == (other.partial_shape, other.element_type)
    ops = {op.get_friendly_name(): op for op in small.get_ops()}
    assert tuple(ops[NAME].get_output_shape(0)) == (1, 64, 4, 4)


def test_weights_of_one_shape_share_the_constant_that_says_it(tmp_path):
    fed = opset13.parameter([1, 32, 4, 4], openvino.Type.f32)
    value, names = fed, [f"unet.mid.convs.{i}/Conv" for i in range(2)]
    for i, name in enumerate(names):
        kernel = opset13.constant(numbers(32, 32, 3, 3, seed=i))
        value = opset13.convolution(value, kernel, [1, 1], [1, 1], [1, 1], [1, 1], name=name)
    openvino.save_model(Model([value], [fed]), tmp_path / "model.xml", compress_to_fp16=False)
    quantize_openvino_w4(tmp_path / "model.xml", tmp_path / "made.xml", block_size=64)
    ops = openvino.Core().read_model(tmp_path / "made.xml").get_ops()
    shapes = [op for op in ops if op.get_type_name() == "Constant" and op.get_element_type() == openvino.Type.i64]
    assert [tuple(op.get_data()) for op in shapes] == [(32, 32, 3, 3)]
    whole, small = (compiled(openvino.Core().read_model(tmp_path / f"{n}.xml")) for n in ("model", "made"))
    x = numbers(1, 32, 4, 4, seed=5)
    assert np.corrcoef(whole([x])[0].ravel(), small([x])[0].ravel())[0, 1] > 0.98


def test_same_feeds_same_bytes_and_float_activations(saved, tmp_path):
    source = saved()
    for name in ("one", "other"):
        quantize_openvino_w4(source, tmp_path / f"{name}.xml", feeds())
    for ending in (".xml", ".bin"):
        assert (tmp_path / f"one{ending}").read_bytes() == (tmp_path / f"other{ending}").read_bytes()
    assert b"\n" not in (tmp_path / "one.xml").read_bytes()[100:].rstrip()
    model = openvino.Core().read_model(tmp_path / "one.xml")
    assert model.get_rt_info(["runtime_options", "DYNAMIC_QUANTIZATION_GROUP_SIZE"]).astype(str) == "0"


def test_w8_errs_by_half_a_step_and_takes_a_quarter(saved, tmp_path):
    source = saved()
    made = quantize_openvino_w8(source, tmp_path / "w8.xml")
    assert made.layers == (NAME, "unet.proj/MatMul")
    sizes = [path.with_suffix(".bin").stat().st_size for path in (tmp_path / "w8.xml", source)]
    assert sizes[0] < 0.28 * sizes[1]
    weights = openvino_weights(source)
    assert sum(layer_bytes(source, name, WIDTHS["w8"]) for name in weights) <= sizes[0]
    network = [compiled(openvino.Core().read_model(path)) for path in (source, tmp_path / "w8.xml")]
    whole, small = (n(feeds(1)[0])[0] for n in network)
    assert 0 < np.abs(whole - small).max() < 0.02 * np.abs(whole).max()


def test_widths_go_layer_by_layer(saved, tmp_path):
    widths = {NAME: WIDTHS["w3-64"], "unet.proj/MatMul": WIDTHS["fp32"]}
    made = quantize_openvino_weights(saved(), tmp_path / "made.xml", (), (), widths)
    assert made.layers == (NAME,)
    assert list(made.floats) == ["unet.proj/MatMul"]
    assert list(openvino_weights(tmp_path / "made.xml")) == ["unet.proj/MatMul"]


@pytest.mark.parametrize(
    ("widths", "said"), [({NAME: WIDTHS["w5-64"]}, "w5-64"), ({"unet.none/Conv": WIDTHS["w8"]}, "unet.none/Conv")]
)
def test_refuses_widths_it_cannot_write(saved, tmp_path, widths, said):
    with pytest.raises(BadInput, match=said):
        quantize_openvino_weights(saved(), tmp_path / "made.xml", (), (), widths)
    assert not (tmp_path / "made.xml").exists()


def test_names_the_layer_that_is_fed_nan(saved, tmp_path):
    with pytest.raises(BadInput, match=r"NaN or infinity in front of unet\.proj/MatMul"):
        quantize_openvino_w4(saved(spoilt=True), tmp_path / "made.xml", feeds(3))


def test_refuses_another_block_and_what_is_quantized_already(saved, tmp_path):
    with pytest.raises(BadInput, match="blocks of 48; expected one of 32, 64, 128"):
        quantize_openvino_w4(saved(), tmp_path / "made.xml", block_size=48)
    quantize_openvino_w8(saved(), tmp_path / "w8.xml")
    with pytest.raises(BadInput, match="no float weights"):
        quantize_openvino_w8(tmp_path / "w8.xml", tmp_path / "made.xml")
