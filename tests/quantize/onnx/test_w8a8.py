"""What the ONNX file holds after quantization, read with onnx alone."""

import re
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from edgestep.artifact import BadInput
from edgestep.quantize.floats import STAYS_FLOAT, layers_named, module_path
from edgestep.quantize.onnx.w8a8 import CONCATENATIONS, OPERATIONS, START_TOKENS, WEIGHTS_ALONE, onnx_weight_files
from tests.runtimes.handmade import save_outside_weights

FILES = {
    "split": ("text_encoder/model.onnx", "unet/model.onnx", "vae_decoder/model.onnx"),
    "fused": ("generator.onnx",),
}
GRAPHS = [(layout, file) for layout, files in FILES.items() for file in files]


def layer_inputs(path: Path) -> dict[str, tuple[str, str]]:
    """Return layer name -> the operations that make its activation and its weight, "" for a graph input or constant."""
    graph = onnx.load(path).graph
    makers = {output: node.op_type for node in graph.node for output in node.output}
    return {
        node.name: (makers.get(node.input[0], ""), makers.get(node.input[1], ""))
        for node in graph.node
        if node.op_type in OPERATIONS
    }


def has_float_input(layer: str) -> bool:
    """Return whether only the layer's weight becomes integers; what the start token is split from has both."""
    path = module_path(layer)
    return bool(WEIGHTS_ALONE.search(path)) and not re.search(START_TOKENS.pattern, path)


@pytest.mark.parametrize(("layout", "file"), GRAPHS)
def test_quantizes_every_layer_but_those_of_the_table(float_artifact, w8a8, layout, file):
    before = layer_inputs(float_artifact("onnx", layout) / file)
    after = layer_inputs(w8a8("onnx", layout) / file)
    branches = {name for name in after if name.endswith("conv_shortcut/Conv_2")}
    assert set(before) == set(after) - branches
    table = [row for row in STAYS_FLOAT if row not in (CONCATENATIONS, START_TOKENS)]
    parted = layers_named(Path(file), before, table)
    alone = {name for name in parted.layers if has_float_input(name)}
    whole = set(parted.layers) - alone | branches
    assert whole
    assert bool(branches) == ("unet" in file or layout == "fused")
    assert bool(alone) == ("text_encoder" not in file)  # the decoder's samplers read its residual stream
    assert {name for name, makers in after.items() if makers == ("DequantizeLinear",) * 2} == whole
    for name in alone:
        assert after[name][0] != "DequantizeLinear" == after[name][1]
    for name in parted.floats:
        assert "DequantizeLinear" not in after[name]


@pytest.mark.parametrize(("layout", "file"), GRAPHS)
def test_weights_are_seven_bits_per_channel(w8a8, layout, file):
    graph = onnx.load(w8a8("onnx", layout) / file).graph
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    readers = {name: node.name for node in graph.node for name in node.input}
    weights = [
        (readers[node.output[0]], values[node.input[0]], values[node.input[1]])
        for node in graph.node
        if node.op_type == "DequantizeLinear" and node.input[0] in values and values[node.input[0]].dtype == np.int8
    ]
    assert weights
    for layer, weight, scale in weights:
        largest = np.abs(weight.astype(int)).max()
        assert largest in ((127, 128) if has_float_input(layer) else (64,))
        assert scale.size in weight.shape
        assert scale.size > 1


def test_activations_are_uint8(w8a8):
    graph = onnx.load(w8a8("onnx", "fused") / "generator.onnx").graph
    zeros = {tensor.name: tensor.data_type for tensor in graph.initializer}
    found = {zeros[node.input[2]] for node in graph.node if node.op_type == "QuantizeLinear"}
    assert found == {onnx.TensorProto.UINT8}


@pytest.mark.parametrize("location", ["../weights.bin", "/weights.bin"])
def test_weights_outside_the_folder_are_refused(tmp_path, location):
    with pytest.raises(BadInput, match="stays inside the folder"):
        onnx_weight_files(save_outside_weights(tmp_path / "artifact", location))
