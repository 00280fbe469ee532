"""W8A8 of a small ML Program: where the pairs are, what they do, and that the float layers are float."""

from pathlib import Path

import coremltools as ct
import numpy as np
import pytest
import torch

from edgestep.artifact import BadInput
from edgestep.mlpackage.layout import WEIGHTS
from edgestep.quantize.coreml.w8a8 import quantize_coreml_naive, quantize_coreml_w8a8
from edgestep.ship.coreml_evaluation import evaluate
from tests.quantize.conftest import sqnr
from tests.quantize.coreml.models import FLOAT, LAYERS, decompressed, operations, samples, save_small_unet

OUTPUT_DB = 28.0
"""Measured: 31.7 dB at worst."""


@pytest.fixture(scope="module")
def parent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_small_unet(tmp_path_factory.mktemp("parent") / "Unet.mlpackage")


@pytest.fixture(scope="module")
def made(parent: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    final = tmp_path_factory.mktemp("made") / "Unet.mlpackage"
    layers = quantize_coreml_w8a8(parent, final, samples(), evaluate=evaluate)
    assert layers.layers == LAYERS
    assert layers.how == "int8 weights per channel, 2 values int8 for 3 of the layers"
    return final


def read(operation, name: str) -> str:
    return operation.inputs[name].arguments[0].name


def test_layers_read_pairs_and_the_first_and_last_do_not(made: Path):
    found = operations(made)
    maker = {output.name: operation.type for operation in found for output in operation.outputs}
    layers = [operation for operation in found if operation.type in ("conv", "linear")]
    kinds = [(maker.get(read(layer, "x"), "input"), maker[read(layer, "weight")]) for layer in layers]
    assert kinds == [
        ("input", "const"),
        ("dequantize", "constexpr_affine_dequantize"),
        ("dequantize", "constexpr_affine_dequantize"),
        ("dequantize", "constexpr_affine_dequantize"),
        ("transpose", "const"),
    ]
    linears = [operation for operation in layers if operation.type == "linear"]
    assert read(linears[0], "x") == read(linears[1], "x")  # one pair for both
    assert [operation.type for operation in found].count("quantize") == 2
    assert all(maker[read(operation, "x")] != "dequantize" for operation in found if operation.type == "matmul")


def test_a_layer_computes_with_rounded_numbers(parent: Path, made: Path, tmp_path: Path):
    """Against torch: what arrives at conv1 of the float program, rounded by the pair's own scale, and int8 weights."""
    pair = next(operation for operation in operations(made) if operation.type == "quantize")
    weight = torch.from_numpy(decompressed(made, tmp_path / "again.mlpackage")[LAYERS[0]])
    names = [read(pair, "input"), "conv1", read(pair, "scale"), read(pair, "zero_point")]
    values = {}
    with evaluate(made) as opened:
        values = {name: torch.from_numpy(value) for name, value in opened.values(samples()[0], names[:2]).items()}
        held = opened._session.interpreter.constants
        scale, zero = float(held[names[2]]), float(held[names[3]])
    x = values[names[0]]
    rounded = (torch.clamp(torch.round(x / scale) + zero, -128, 127) - zero) * scale
    expected = torch.nn.functional.conv2d(rounded, weight, padding="same")
    assert torch.allclose(values["conv1"], expected, atol=1e-4)
    assert float((rounded - x).abs().max()) > 0


def test_the_output_stays_near(parent: Path, made: Path):
    with evaluate(parent) as one, evaluate(made) as other:
        worst = min(sqnr(one.run(feed)["out"], other.run(feed)["out"]) for feed in samples())
    assert worst > OUTPUT_DB


def test_float_layers_keep_their_weights(parent: Path, made: Path, tmp_path: Path):
    before, after = (
        decompressed(folder, tmp_path / f"{name}.mlpackage") for name, folder in (("one", parent), ("two", made))
    )
    for name in FLOAT:
        assert np.array_equal(before[name], after[name])


def test_same_feeds_same_bytes(parent: Path, made: Path, tmp_path: Path):
    quantize_coreml_w8a8(parent, tmp_path / "again.mlpackage", samples(), evaluate=evaluate)
    model = made / "Data" / "com.apple.CoreML" / "model.mlmodel"
    assert (tmp_path / "again.mlpackage" / model.relative_to(made)).read_bytes() == model.read_bytes()
    assert (tmp_path / "again.mlpackage" / WEIGHTS).read_bytes() == (made / WEIGHTS).read_bytes()


def test_ios_18_has_pairs_too(tmp_path: Path):
    parent = save_small_unet(tmp_path / "parent.mlpackage", ct.target.iOS18)
    quantize_coreml_w8a8(parent, tmp_path / "made.mlpackage", samples(), evaluate=evaluate)
    kinds = [operation.type for operation in operations(tmp_path / "made.mlpackage")]
    assert kinds.count("constexpr_blockwise_shift_scale") == 3
    assert kinds.count("dequantize") == 2
    with evaluate(parent) as one, evaluate(tmp_path / "made.mlpackage") as other:
        assert min(sqnr(one.run(feed)["out"], other.run(feed)["out"]) for feed in samples()) > OUTPUT_DB


def test_needs_an_evaluator(parent: Path, tmp_path: Path):
    with pytest.raises(BadInput, match="got no evaluator for w8a8"):
        quantize_coreml_w8a8(parent, tmp_path / "made.mlpackage", samples())


def test_naive_has_one_scale_a_weight_and_leaves_nothing_float(parent: Path, made: Path, tmp_path: Path):
    layers = quantize_coreml_naive(parent, tmp_path / "naive.mlpackage", samples(), evaluate=evaluate)
    assert layers.how.startswith("int8 weights per tensor")
    assert {*LAYERS, *FLOAT} <= set(layers.layers)
    assert not layers.floats
    scales = [
        operation.attributes["scale"].type.tensorType
        for operation in operations(tmp_path / "naive.mlpackage")
        if operation.type == "constexpr_affine_dequantize"
    ]
    assert len(scales) == len(layers.layers)
    assert {scale.rank for scale in scales} == {0}
    with evaluate(parent) as one, evaluate(made) as careful, evaluate(tmp_path / "naive.mlpackage") as naive:
        wanted = [one.run(feed)["out"] for feed in samples()]
        worst = [
            min(sqnr(out, other.run(feed)["out"]) for out, feed in zip(wanted, samples(), strict=True))
            for other in (careful, naive)
        ]
    assert worst[0] > worst[1]
