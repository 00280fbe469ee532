"""Weights as integers: what ONNX Runtime computes is what was rounded, in every width; corrected, streamed, refused."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

from edgestep.artifact import BadInput
from edgestep.quantize.floats import STAYS_FLOAT, StaysFloat
from edgestep.quantize.onnx.weight_only import (
    CHOSEN,
    layer_bytes,
    onnx_weight_layers,
    quantize_onnx_w4,
    quantize_onnx_w8,
    quantize_onnx_weights,
)
from edgestep.quantize.onnx.weights import weights_of
from edgestep.quantize.rounding import rounded
from edgestep.quantize.widths import WIDTHS
from tests.quantize.conftest import sqnr
from tests.quantize.onnx.handmade import LAYERS, SHAPES, UP, feeds, handmade, save

NARROW = [name for name, width in WIDTHS.items() if not width.is_float]


def run(path: Path, feed: dict[str, np.ndarray]) -> list[np.ndarray]:
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, feed)


def with_values(model, width: str):
    """Return the model with float weights as the width leaves them, put there by hand."""
    for weight in weights_of(model):
        tensor = next(tensor for tensor in model.graph.initializer if tensor.name == weight.name)
        values = numpy_helper.to_array(tensor)
        turned = values if weight.axis == 1 else values.swapaxes(0, 1)
        made = rounded(turned.reshape(len(turned), -1), WIDTHS[width].bits, weight.block(WIDTHS[width])).values
        back = made.reshape(turned.shape)
        tensor.CopyFrom(numpy_helper.from_array(back if weight.axis == 1 else back.swapaxes(0, 1), weight.name))
    return model


@pytest.mark.parametrize("width", NARROW)
def test_the_runtime_computes_what_was_rounded(tmp_path, width):
    source = save(handmade(), tmp_path / "float.onnx")
    made = quantize_onnx_weights(
        source, tmp_path / "made.onnx", (), (), dict.fromkeys(onnx_weight_layers(source), WIDTHS[width])
    )
    by_hand = save(with_values(handmade(), width), tmp_path / "by_hand.onnx")
    assert made.layers == (*LAYERS, UP)
    onnx.checker.check_model(tmp_path / "made.onnx", full_check=True)
    for feed in feeds(2):
        for ours, theirs in zip(run(tmp_path / "made.onnx", feed), run(by_hand, feed), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=0, atol=2e-6)


def test_each_layer_has_its_own_width_and_the_rest_stays_float(tmp_path):
    source = save(handmade(), tmp_path / "float.onnx")
    widths = {"net.linear/MatMul": WIDTHS["w4-32"], "net.gemm/Gemm": WIDTHS["fp32"], "net.conv/Conv": WIDTHS["w8"]}
    table = (StaysFloat(r"\.conv$", "asked for"),)
    made = quantize_onnx_weights(source, tmp_path / "made.onnx", (), table, widths)
    assert made.layers == ("net.linear/MatMul",)
    assert made.floats["net.conv/Conv"] == "asked for"
    assert {layer for layer, why in made.floats.items() if why == CHOSEN} == set(onnx_weight_layers(source)) - {
        "net.linear/MatMul",
        "net.conv/Conv",
    }
    before, after = (
        {t.name: t for t in onnx.load(path).graph.initializer} for path in (source, tmp_path / "made.onnx")
    )
    assert "linear" not in after
    for name in set(SHAPES) - {"linear"}:
        assert after[name].raw_data == before[name].raw_data


def test_bytes_of_a_layer(tmp_path):
    source = save(handmade(), tmp_path / "float.onnx")
    assert layer_bytes(source, "net.linear/MatMul", WIDTHS["w4-32"]) == 32 * 64 // 2 + 64 * 2
    with pytest.raises(BadInput, match="no layer of"):
        layer_bytes(source, "net.none/Conv", WIDTHS["w8"])


def test_correction_is_better_than_rounding_to_nearest_on_pictures_not_seen(tmp_path):
    source = save(handmade(outlier=8.0), tmp_path / "float.onnx")
    widths = dict.fromkeys(onnx_weight_layers(source), WIDTHS["w3-64"])
    fed, others = feeds(60)[:50], feeds(60)[50:]
    found = {}
    for name, samples in (("nearest", ()), ("corrected", fed)):
        made = quantize_onnx_weights(source, tmp_path / f"{name}.onnx", samples, (), widths)
        pairs = [(run(source, feed), run(tmp_path / f"{name}.onnx", feed)) for feed in others]
        found[name] = np.mean([sqnr(ref[0], out[0]) for ref, out in pairs])
        assert ("3 by GPTQ" in made.how) == (name == "corrected")
    assert found["corrected"] > found["nearest"] + 0.5


def test_same_feeds_same_bytes(tmp_path):
    source = save(handmade(), tmp_path / "float.onnx")
    for name in ("one", "two"):
        quantize_onnx_w4(source, tmp_path / f"{name}.onnx", feeds(6), (), block_size=32)
    assert (tmp_path / "one.onnx").read_bytes() == (tmp_path / "two.onnx").read_bytes()


def test_weights_beside_the_file_stay_beside_it(tmp_path):
    inline = save(handmade(), tmp_path / "inline.onnx")
    source = save(handmade(), tmp_path / "parent" / "model.onnx", beside=True)
    (tmp_path / "made").mkdir()
    quantize_onnx_w8(source, tmp_path / "made" / "model.onnx", (), ())
    quantize_onnx_w8(inline, tmp_path / "whole.onnx", (), ())
    held = (tmp_path / "made" / "model.onnx.data").stat().st_size
    assert held < 0.3 * (tmp_path / "parent" / "model.onnx.data").stat().st_size
    for one, other in zip(
        run(tmp_path / "made" / "model.onnx", feeds(1)[0]), run(tmp_path / "whole.onnx", feeds(1)[0]), strict=True
    ):
        np.testing.assert_array_equal(one, other)


def test_float16_weights_are_given_back_as_float16(tmp_path):
    source = save(handmade(np.float16), tmp_path / "half.onnx")
    quantize_onnx_w8(source, tmp_path / "w8.onnx", (), ())
    quantize_onnx_w4(source, tmp_path / "w4.onnx", feeds(20, np.float16), ())
    feed = feeds(21, np.float16)[20]
    for name, least in (("w8", 35.0), ("w4", 12.0)):
        for ref, out in zip(run(source, feed), run(tmp_path / f"{name}.onnx", feed), strict=True):
            assert out.dtype == np.float16
            assert sqnr(ref, out) > least


@pytest.mark.parametrize("opset", [13, 20])
def test_only_four_bits_need_a_later_opset(tmp_path, opset):
    source = save(handmade(opset=opset), tmp_path / "float.onnx")
    quantize_onnx_w8(source, tmp_path / "w8.onnx", (), ())
    assert onnx.load(tmp_path / "w8.onnx").opset_import[0].version == opset
    if opset == 13:
        with pytest.raises(BadInput, match="opset 13"):
            quantize_onnx_w4(source, tmp_path / "w4.onnx", (), ())
        return
    quantize_onnx_w4(source, tmp_path / "w4.onnx", (), ())
    assert onnx.load(tmp_path / "w4.onnx").opset_import[0].version == 21


def test_not_a_number_names_the_layer(tmp_path):
    source = save(handmade(), tmp_path / "float.onnx")
    fed = feeds(3)
    fed[1]["picture"] = fed[1]["picture"] * np.float32(np.inf)
    with pytest.raises(BadInput, match=r"NaN or infinity in front of net\.conv/Conv in calibration sample 1"):
        quantize_onnx_weights(
            source, tmp_path / "made.onnx", fed, (), dict.fromkeys(onnx_weight_layers(source), WIDTHS["w4-32"])
        )
    assert not (tmp_path / "made.onnx").exists()


def test_bad_weights_are_refused(tmp_path):
    model = handmade()
    values = np.full(SHAPES["gemm"], np.nan, np.float32)
    next(t for t in model.graph.initializer if t.name == "gemm").CopyFrom(numpy_helper.from_array(values, "gemm"))
    source = save(model, tmp_path / "float.onnx")
    with pytest.raises(BadInput, match=r"NaN or infinity in the weight of net\.gemm/Gemm"):
        quantize_onnx_w8(source, tmp_path / "made.onnx", (), ())
    quantized = save(handmade(), tmp_path / "again.onnx")
    quantize_onnx_w8(quantized, tmp_path / "once.onnx", (), ())
    with pytest.raises(BadInput, match="holds no float weights"):
        quantize_onnx_w8(tmp_path / "once.onnx", tmp_path / "twice.onnx", (), ())
    with pytest.raises(BadInput, match="got blocks of 48; expected one of 32, 64, 128"):
        quantize_onnx_w4(quantized, tmp_path / "made.onnx", (), (), block_size=48)


def test_a_missing_weight_file_is_one_line(tmp_path):
    source = save(handmade(), tmp_path / "model.onnx", beside=True)
    (tmp_path / "model.onnx.data").write_bytes(b"short")
    (tmp_path / "made").mkdir()
    with pytest.raises(BadInput, match="does not hold"):
        quantize_onnx_w8(source, tmp_path / "made" / "model.onnx", (), STAYS_FLOAT[:3])
