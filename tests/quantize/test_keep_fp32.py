"""Modules named by hand stay float, in both formats; names of no layer are refused before anything is computed."""

import json
from pathlib import Path

import onnx
import pytest

from edgestep.artifact import BadInput
from edgestep.quantize.keep_fp32 import read_keep_fp32
from edgestep.quantize.run import quantize
from tests.quantize.conftest import feeds_of

KEPT, OTHER = "unet.mid_block.resnets.0.conv1", "unet.mid_block.resnets.0.conv2"


def test_a_named_module_has_no_quantized_input_in_onnx(float_artifact, tmp_path: Path):
    parent = float_artifact("onnx", "split")
    made = quantize(parent, scheme="w8a8", out=tmp_path / "w8a8", feeds=feeds_of(parent), keep=[KEPT])
    graph = onnx.load(tmp_path / "w8a8" / "unet" / "model.onnx").graph
    maker = {output: node.op_type for node in graph.node for output in node.output}
    read = {node.name: [maker.get(name) for name in node.input[:2]] for node in graph.node}
    assert "DequantizeLinear" not in read[f"{KEPT}/Conv"]
    assert read[f"{OTHER}/Conv"] == ["DequantizeLinear"] * 2
    assert any("named by --keep-fp32" in note for note in made.notes)


def test_a_named_module_has_no_fake_quantize_in_openvino(float_artifact, tmp_path: Path):
    import openvino

    parent = float_artifact("openvino", "split")
    quantize(parent, scheme="w8a8", out=tmp_path / "w8a8", feeds=feeds_of(parent), keep=[KEPT])
    model = openvino.Core().read_model(tmp_path / "w8a8" / "unet" / "openvino_model.xml")
    ops = {op.get_friendly_name(): op for op in model.get_ops()}

    def read(module: str) -> set[str]:
        op = ops[f"{module}/Conv/WithoutBiases"]
        return {port.get_source_output().get_node().get_type_name() for port in op.inputs()}

    assert "FakeQuantize" not in read(KEPT)
    assert "FakeQuantize" in read(OTHER)


def test_what_is_kept_is_part_of_the_key(float_artifact, tmp_path: Path):
    parent = float_artifact("onnx", "split")
    feeds = feeds_of(parent)
    made = [
        quantize(parent, scheme="w8a8", out=tmp_path / str(len(keep)), feeds=feeds, keep=keep) for keep in ((), (KEPT,))
    ]
    assert made[0].key != made[1].key


@pytest.mark.parametrize("form", ["onnx", "openvino"])
def test_a_name_of_no_layer_is_refused(float_artifact, tmp_path: Path, form: str):
    parent = float_artifact(form, "split")
    with pytest.raises(BadInput, match=r"got 'unet\.mid_block\.resnets\.7\.conv1' to keep float.*conv1"):
        quantize(
            parent,
            scheme="w8a8",
            out=tmp_path / "w8a8",
            feeds=feeds_of(parent, 2),
            keep=["unet.mid_block.resnets.7.conv1"],
        )
    assert not (tmp_path / "w8a8").exists()


@pytest.mark.parametrize("text", ["{", "{}", "[1]", '[""]'], ids=["no JSON", "an object", "a number", "no name"])
def test_a_file_of_another_kind_is_refused(tmp_path: Path, text: str):
    path = tmp_path / "keep.json"
    path.write_text(text)
    with pytest.raises(BadInput, match=r"keep\.json"):
        read_keep_fp32(path)
    with pytest.raises(BadInput, match="cannot be read"):
        read_keep_fp32(tmp_path / "none.json")


def test_names_are_read_once_each(tmp_path: Path):
    path = tmp_path / "keep.json"
    path.write_text(json.dumps([KEPT, OTHER, KEPT]))
    assert read_keep_fp32(path) == (KEPT, OTHER)
