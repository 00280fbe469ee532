"""The table of what stays float, on the names that exporters and optimisers leave."""

from pathlib import Path

import pytest

from edgestep.artifact import BadInput
from edgestep.quantize.floats import STAYS_FLOAT, UNNAMED, StaysFloat, layers_named, module_path

BLOCK = "unet.down_blocks.0.attentions.0.transformer_blocks.0"
FLOAT = [
    "unet.conv_in/Conv",
    "unet.conv_out/Conv",
    "unet.conv_out/Conv/WithoutBiases",
    "vae.decoder.conv_in/Conv",
    "vae.decoder.conv_out/Conv",
    "vae.post_quant_conv/Conv",
    "unet.up_blocks.2.resnets.1.conv_shortcut/Conv",
    f"{BLOCK}.attn1/MatMul",
    f"{BLOCK}.attn2/MatMul_2",
    f"{BLOCK}.attn2.to_k/MatMul",
    "text_encoder.text_model.encoder.layers.0.self_attn/MatMul_2",
    "vae.decoder.mid_block.attentions.0/MatMul",
]
INT8 = [
    "unet.down_blocks.0.resnets.0.conv1/Conv",
    "unet.down_blocks.1.resnets.0.conv_shortcut/Conv",
    "unet.down_blocks.0.attentions.0.proj_in/Conv",
    "unet.down_blocks.0.downsamplers.0.conv/Conv",
    "vae.decoder.up_blocks.1.resnets.0.conv_shortcut/Conv",
    "vae.decoder.mid_block.attentions.0.to_q/MatMul",
    f"{BLOCK}.attn1.to_k/MatMul",
    f"{BLOCK}.attn2.to_q/MatMul",
    f"{BLOCK}.ff.net.2/MatMul",
    "text_encoder.text_model.encoder.layers.0.mlp.fc1/MatMul",
]


def test_parts_layers_by_the_table():
    parted = layers_named(Path("model.onnx"), [*INT8, *FLOAT])
    assert parted.layers == tuple(INT8)
    assert list(parted.floats) == FLOAT


@pytest.mark.parametrize("row", STAYS_FLOAT, ids=lambda row: row.pattern)
def test_every_row_has_work(row: StaysFloat):
    assert layers_named(Path("model.onnx"), [*INT8, *FLOAT], [row]).floats


def test_a_layer_that_lost_its_name_stays_float():
    assert layers_named(Path("model.xml"), ["Multiply_37092", INT8[0]]).floats == {"Multiply_37092": UNNAMED}


def test_refuses_a_graph_without_module_names():
    with pytest.raises(BadInput, match=r"strange\.onnx.*not named after modules"):
        layers_named(Path("strange.onnx"), ["Conv_1", "MatMul_2"])


@pytest.mark.parametrize(
    ("layer", "path"),
    [("unet.conv_out/Conv/WithoutBiases", "unet.conv_out"), ("unet.conv_in", "unet.conv_in"), ("Add_3/x.y", "")],
)
def test_module_path(layer, path):
    assert module_path(layer) == path


def test_notes_count_layers_and_give_reasons():
    lines = layers_named(Path("model.onnx"), [*INT8, *FLOAT]).notes("generator")
    assert lines[0] == f"generator: {len(INT8)} layers quantized, {len(FLOAT)} stay float"
    assert any("unet.conv_out (2)" in line and "k_e" in line for line in lines)
    assert any("transformer_blocks.*.attn2.to_k (1)" in line for line in lines)
