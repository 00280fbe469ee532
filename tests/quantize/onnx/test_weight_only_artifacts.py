"""w8 and w4 of whole artifacts: the manifest says what was done, the picture stays, and bad parents are refused."""

import numpy as np
import onnx
import pytest

from edgestep.artifact import BadInput, read_artifact
from edgestep.quantize.onnx.weight_only import widths_w4
from edgestep.quantize.onnx.weights import Weight
from edgestep.quantize.run import quantize
from edgestep.quantize.schemes import scheme_for
from edgestep.runtimes.drawing import Drawer
from tests.quantize.conftest import cases, feeds_of, picture_psnr

WORST_DB = {"w8": 50.0, "w4": 38.0}
"""Of five pictures of the random generator; seen in both layouts: 55.7 and 41.9 dB."""


@pytest.mark.parametrize("layout", ["split", "fused"])
@pytest.mark.parametrize("scheme", ["w8", "w4"])
def test_still_draws_the_picture_and_says_how(float_artifact, tmp_path, scheme, layout):
    parent, out = float_artifact("onnx", layout), tmp_path / "made"
    feeds = feeds_of(parent, 4) if scheme == "w4" else None
    made = quantize(parent, scheme=scheme, out=out, feeds=feeds)
    assert (made.scheme, made.parent) == (scheme, read_artifact(parent).key)
    graphs = [note for note in made.notes if "layers quantized" in note]
    assert len(graphs) == len(made.components)
    assert any("by GPTQ" in note for note in graphs) == (scheme == "w4")
    with Drawer(parent, threads=1) as before, Drawer(out, threads=1) as after:
        for case in cases(made.contract, 5, seed=9):
            assert picture_psnr(before.draw(*case).image, after.draw(*case).image) > WORST_DB[scheme]


def test_what_stays_float_is_what_it_was(float_artifact, tmp_path):
    parent = float_artifact("onnx", "split")
    quantize(parent, scheme="w8", out=tmp_path / "made")
    before, after = (
        {tensor.name: tensor for tensor in onnx.load(folder / "unet/model.onnx").graph.initializer}
        for folder in (parent, tmp_path / "made")
    )
    for name in ("unet.conv_in.weight", "unet.conv_out.weight"):
        assert np.array_equal(onnx.numpy_helper.to_array(before[name]), onnx.numpy_helper.to_array(after[name]))


def test_what_is_quantized_already_is_refused(float_artifact, tmp_path):
    quantize(float_artifact("onnx", "split"), scheme="w8", out=tmp_path / "once")
    with pytest.raises(BadInput, match="quantize the float export"):
        quantize(tmp_path / "once", scheme="w4", out=tmp_path / "twice", feeds={})
    assert not (tmp_path / "twice").exists()


def test_w4_is_calibrated_where_it_is_corrected():
    assert scheme_for("w4", "onnx", "fp32").calibrated
    assert not scheme_for("w4", "coreml", "fp16").calibrated
    assert not scheme_for("w8", "onnx", "fp32").calibrated


def test_the_layers_that_lose_most_keep_eight_bits():
    paths = {
        "text_encoder.text_model.encoder.layers.0.mlp.fc1/MatMul": "w8",
        "gen.unet.down_blocks.0.resnets.0.conv1/Conv": "w8",
        "gen.unet.down_blocks.1.resnets.0.conv1/Conv": "w4-32",
        "gen.unet.down_blocks.1.resnets.0.conv_shortcut/Conv": "w8",
        "gen.unet.mid_block.attentions.0.proj_in/Conv": "w8",
        "gen.unet.mid_block.attentions.0.transformer_blocks.0.ff.net.0.proj/MatMul": "w4-32",
        "gen.unet.up_blocks.2.resnets.0.conv1/Conv": "w4-32",
        "gen.unet.up_blocks.3.resnets.0.conv1/Conv": "w8",
        "vae.decoder.up_blocks.4.resnets.0.conv1/Conv": "w4-32",
    }
    weights = [Weight(path, path, path.split("/")[1], (64, 64), 1, 1, 0) for path in paths]
    weights.append(Weight("embeddings/Gather", "table", "Gather", (64, 64), 1, 1, 0))
    assert {layer: width.name for layer, width in widths_w4(weights, 32).items()} == {
        **paths,
        "embeddings/Gather": "w8",
    }
