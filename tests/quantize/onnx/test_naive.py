"""The control: everything in INT8 with a scale for each tensor; and how much worse it is where channels are unequal."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from diffusers import UNet2DConditionModel
from onnx import numpy_helper

from edgestep.artifact import read_artifact
from edgestep.export.graph.graphs import Graphs
from edgestep.export.recipe.contract import contract_from_checkpoint
from edgestep.export.run import export
from edgestep.export.source.checkpoint import open_checkpoint
from edgestep.quantize.run import quantize
from edgestep.quantize.schemes import SCHEMES, samples_for
from edgestep.runtimes.drawing import Drawer
from tests.quantize.conftest import cases, feeds_of, sqnr
from tests.quantize.onnx.test_w8a8 import layer_inputs
from tests.quantize.outliers import save_outlier_checkpoint

WORSE_DB = 6.0
"""The bar of issue 6."""


@pytest.fixture(scope="module")
def outliers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The float artifact of the checkpoint with large channels."""
    root = tmp_path_factory.mktemp("outliers")
    save_outlier_checkpoint(root / "checkpoint")
    checkpoint = open_checkpoint(root / "checkpoint")
    graphs = Graphs(checkpoint, contract_from_checkpoint(checkpoint))
    parent = root / "float"
    export(checkpoint, format="onnx", precision="fp32", layout="split", target="x86", out=parent, graphs=graphs)
    return parent


def test_naive_leaves_nothing_float_and_has_one_scale_a_tensor(float_artifact, tmp_path):
    parent = float_artifact("onnx", "split")
    made = quantize(parent, scheme="naive_w8a8", out=tmp_path / "naive", feeds=feeds_of(parent))
    assert (made.scheme, SCHEMES["naive_w8a8"].hidden) == ("naive_w8a8", True)
    assert any("0 stay float: naive" in note for note in made.notes)
    path = tmp_path / "naive" / "unet" / "model.onnx"
    assert set(layer_inputs(path).values()) == {("DequantizeLinear",) * 2}
    graph = onnx.load(path).graph
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    pairs = [values[node.input[1]] for node in graph.node if node.op_type == "QuantizeLinear"]
    assert pairs
    assert {scale.size for scale in pairs} == {1}
    assert {values[n.input[2]].dtype.name for n in graph.node if n.op_type == "QuantizeLinear"} == {"uint8"}


@pytest.mark.slow
def test_care_is_worth_six_decibels_where_channels_are_unequal(outliers, tmp_path):
    feeds, worst = feeds_of(outliers, samples_for("w8a8", "onnx")), {}
    with Drawer(outliers, threads=1) as one:
        for scheme in ("naive_w8a8", "w8a8", "a16w8"):
            quantize(outliers, scheme=scheme, out=tmp_path / scheme, feeds=feeds)
            with Drawer(tmp_path / scheme, threads=1) as other:
                drawn = [(one.draw(*case).x0, other.draw(*case).x0) for case in cases(one.artifact.contract, 6, seed=7)]
            worst[scheme] = min(sqnr(*pair) for pair in drawn)
    assert worst["w8a8"] > worst["naive_w8a8"] + WORSE_DB
    assert worst["a16w8"] > worst["w8a8"] + WORSE_DB


def test_a16w8_has_16_bit_activations(float_artifact, tmp_path):
    parent = float_artifact("onnx", "split")
    made = quantize(parent, scheme="a16w8", out=tmp_path / "a16w8", feeds=feeds_of(parent, 2))
    assert read_artifact(tmp_path / "a16w8") == made
    model = onnx.load(tmp_path / "a16w8" / "unet" / "model.onnx")
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    pairs = [node for node in model.graph.node if node.op_type == "QuantizeLinear"]
    assert {(values[node.input[2]].dtype.name, node.domain) for node in pairs} == {("uint16", "com.microsoft")}


def test_large_channels_do_not_change_the_float_function(tmp_path):
    """Against diffusers alone: the same noise and words, with the channels large and as they were."""
    for times in (1.0, 50.0):
        save_outlier_checkpoint(tmp_path / str(times), times=times)
    generator = torch.Generator().manual_seed(0)
    sample, words = torch.randn(1, 4, 8, 8, generator=generator), torch.randn(1, 5, 32, generator=generator)
    outputs = []
    for times in (1.0, 50.0):
        unet = UNet2DConditionModel.from_pretrained(tmp_path / str(times), subfolder="unet")
        larger = words.clone()
        larger[..., 3] *= times  # as the text encoder's last norm gives it
        with torch.no_grad():
            outputs.append(unet(sample, 999, larger).sample.numpy())
    assert sqnr(*outputs) > 50
    assert not np.array_equal(*outputs)
