"""What w8, w4 and palettization leave of a small ML Program, as coremltools itself decompresses it."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import coremltools as ct
import numpy as np
import pytest

from edgestep.artifact import BadInput
from edgestep.mlpackage.layout import MODEL, WEIGHTS
from edgestep.quantize.coreml.package import open_package, read_spec
from edgestep.quantize.coreml.weight_only import (
    check_coreml_parent,
    coreml_layers,
    divisor,
    quantize_coreml_weights,
)
from edgestep.quantize.coreml.weights import fits, module_of, shown_module
from edgestep.quantize.floats import WEIGHTS_STAY_FLOAT
from edgestep.quantize.keep_fp32 import check_known, rows_from_names
from edgestep.ship.coreml_evaluation import evaluate
from tests.quantize.conftest import sqnr
from tests.quantize.coreml.models import (
    CHANNELS,
    FLOAT,
    LAYERS,
    MASK,
    NAMELESS,
    decompressed,
    operations,
    samples,
    save_small_unet,
    weights_in,
)

SYSTEMS = {"iOS17": ct.target.iOS17, "iOS18": ct.target.iOS18}
SCHEMES = [(system, scheme) for system in SYSTEMS for scheme in ("w8", "p8", "p6", "p4", "p2")] + [("iOS18", "w4")]
FLOORS = {"w8": 32, "w4": 8, "p8": 28, "p6": 20, "p4": 10, "p2": 3}
"""dB of the worst output; measured: 34.9, 9.8, 31.3, 23.8, 12.2 and 4.3 (heavy-tailed weights): sanity, not gates."""


@pytest.fixture(scope="module")
def parents(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("parents")
    return {name: save_small_unet(root / f"{name}.mlpackage", opset) for name, opset in SYSTEMS.items()}


@pytest.fixture(scope="module")
def made(parents, tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Path]:
    root = tmp_path_factory.mktemp("made")
    folders = {}
    for system, scheme in SCHEMES:
        final = root / f"{system}-{scheme}.mlpackage"
        layers = quantize_coreml_weights(parents[system], final, scheme=scheme)
        assert layers.layers == LAYERS
        folders[system, scheme] = final
    return folders


@pytest.mark.parametrize(("system", "scheme"), SCHEMES)
def test_layers_shrink_and_the_rest_stays(parents, made, tmp_path: Path, system: str, scheme: str):
    before = weights_in(parents[system])
    assert set(before) == {*LAYERS, *FLOAT, NAMELESS}
    assert set(weights_in(made[system, scheme])) == {*FLOAT, NAMELESS}
    after = decompressed(made[system, scheme], tmp_path / "again.mlpackage")
    for name in (*FLOAT, NAMELESS):
        assert np.array_equal(after[name], before[name].values)
    count = sum(before[name].values.size for name in LAYERS)
    saved = (parents[system] / WEIGHTS).stat().st_size - (made[system, scheme] / WEIGHTS).stat().st_size
    assert saved > count * (4 - int(scheme[1:]) / 8 - 0.35)  # float32 parents; scales and tables take the rest


@pytest.mark.parametrize(("system", "scheme"), SCHEMES)
def test_the_evaluated_output_stays_near(parents, made, system: str, scheme: str):
    with evaluate(parents[system]) as one, evaluate(made[system, scheme]) as other:
        worst = min(sqnr(one.run(feed)["out"], other.run(feed)["out"]) for feed in samples())
    assert worst > FLOORS[scheme]


def test_w8_is_symmetric_per_output_channel(parents, made, tmp_path: Path):
    before, after = weights_in(parents["iOS17"]), decompressed(made["iOS17", "w8"], tmp_path / "again.mlpackage")
    for name in LAYERS:
        flat = np.array(before[name].values).reshape(before[name].values.shape[0], -1)
        scale = np.abs(flat).max(axis=1, keepdims=True) / 127
        expected = np.round(flat / scale) * scale
        assert np.allclose(after[name].reshape(flat.shape), expected, atol=1e-6 + scale.max() * 1e-3)


def test_w4_has_a_scale_per_block_of_inputs(parents, made, tmp_path: Path):
    before, after = weights_in(parents["iOS18"]), decompressed(made["iOS18", "w4"], tmp_path / "again.mlpackage")
    name = LAYERS[1]
    assert divisor(48, 32) == 24
    blocks = np.array(before[name].values).reshape(48, 2, 24)
    steps = np.abs(blocks).max(axis=2, keepdims=True) / 7
    assert np.all(np.abs(after[name].reshape(blocks.shape) - blocks) <= steps * 0.51)
    assert all(len(np.unique(block)) <= 15 for block in after[name].reshape(-1, 24))


@pytest.mark.parametrize(("system", "groups"), [("iOS17", 1), ("iOS18", 3)])
@pytest.mark.parametrize("bits", [2, 4])
def test_tables_are_per_group_from_ios_18_on(made, tmp_path: Path, system: str, groups: int, bits: int):
    after = decompressed(made[system, f"p{bits}"], tmp_path / "again.mlpackage")
    for name in LAYERS:
        parts = np.split(after[name], groups)
        assert all(len(np.unique(part)) <= 1 << bits for part in parts)
        assert (len(np.unique(after[name])) > 1 << bits) == (groups > 1)


def test_names_types_and_metadata_are_the_parents(parents, made):
    for (system, _), final in made.items():
        one, other = (read_spec(folder).description for folder in (parents[system], final))
        assert one == other
        assert one.metadata.userDefined["edgestep.contract"] == "kept"


@pytest.mark.parametrize("scheme", ["w8", "p4"])
def test_same_package_same_bytes(parents, made, tmp_path: Path, scheme: str):
    quantize_coreml_weights(parents["iOS18"], tmp_path / "again.mlpackage", scheme=scheme)
    files = [path.relative_to(tmp_path / "again.mlpackage") for path in (tmp_path / "again.mlpackage").rglob("*.*")]
    assert files
    for file in files:
        if (tmp_path / "again.mlpackage" / file).is_file():
            assert (tmp_path / "again.mlpackage" / file).read_bytes() == (made["iOS18", scheme] / file).read_bytes()


def test_another_process_writes_the_same_bytes(parents, made, tmp_path: Path):
    """Protobuf orders what is named by a hash that is another one in each process, unless told not to."""
    code = (
        "import sys; from pathlib import Path; from edgestep.quantize.coreml.weight_only import *; "
        "quantize_coreml_weights(Path(sys.argv[1]), Path(sys.argv[2]), scheme='p4')"
    )
    again = tmp_path / "again.mlpackage"
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    subprocess.run([sys.executable, "-c", code, parents["iOS18"], again], check=True, env=environment)
    for file in (MODEL, WEIGHTS):
        assert (again / file).read_bytes() == (made["iOS18", "p4"] / file).read_bytes()


@pytest.mark.parametrize("mask", [-np.inf, np.nan])
@pytest.mark.parametrize("scheme", ["p4", "p8", "w8"])
def test_constants_that_are_not_finite_are_left_out(tmp_path: Path, mask: float, scheme: str):
    parent = save_small_unet(tmp_path / "parent.mlpackage", mask=mask)
    layers = quantize_coreml_weights(parent, tmp_path / "made.mlpackage", scheme=scheme)
    assert layers.layers == LAYERS
    assert "infinity or NaN" in layers.floats[shown_module(MASK)]
    before, after = weights_in(parent)[MASK].values, weights_in(tmp_path / "made.mlpackage")[MASK].values
    assert np.array_equal(before, after, equal_nan=True)


def test_w4_needs_ios_18(parents):
    with pytest.raises(BadInput, match=r"iOS17\.mlpackage, which runs from iOS 17.*--deployment-target iOS18"):
        check_coreml_parent(parents["iOS17"], "w4")
    check_coreml_parent(parents["iOS18"], "w4")
    check_coreml_parent(parents["iOS17"], "p4")


def test_named_modules_stay_float(parents, tmp_path: Path):
    rows = rows_from_names(["unet.mid_block.resnets.0.conv1"])
    layers = quantize_coreml_weights(
        parents["iOS17"], tmp_path / "made.mlpackage", table=(*rows, *WEIGHTS_STAY_FLOAT), scheme="p8"
    )
    assert layers.layers == LAYERS[1:]
    assert LAYERS[0] in weights_in(tmp_path / "made.mlpackage")


@pytest.mark.parametrize("name", ["unet.mid_block.resnets.0.conv1", "unet_ff_net_2", "unet.ff.net.2"])
def test_names_are_known_with_dots_or_underscores(parents, name: str):
    check_known([name], coreml_layers(parents["iOS17"]), fits)


def test_a_name_of_no_layer_is_refused(parents):
    with pytest.raises(
        BadInput, match=r"got 'unet\.mid_block\.resnets\.7\.conv1' .* such as unet_mid_block_resnets\.0"
    ):
        check_known(["unet.mid_block.resnets.7.conv1"], coreml_layers(parents["iOS17"]), fits)


@pytest.mark.parametrize(
    ("name", "module", "shown"),
    [
        ("p_unet_conv_in_weight", "unet_conv_in", "unet_conv_in"),
        ("p_unet_up_blocks_2_resnets_0_conv1_weight_to_fp16", "unet_up_blocks_2_resnets_0_conv1", None),
        ("p_text_encoder_2_text_model_x_weight", "text_encoder_2_text_model_x", "text_encoder_2_text_model_x"),
        ("formula_mul_1_weight_0", "", ""),
        ("add_9_mean_0_to_fp16", "", ""),
    ],
)
def test_modules_are_read_from_names(name: str, module: str, shown: str | None):
    assert module_of(name) == module
    assert shown_module(name) == ("unet_up_blocks.2.resnets.0.conv1" if shown is None else shown)


def test_what_is_no_package_is_refused(parents, tmp_path: Path):
    with pytest.raises(BadInput, match=r"expected a \.mlpackage"):
        open_package(tmp_path)
    broken = Path(shutil.copytree(parents["iOS17"], tmp_path / "broken.mlpackage"))
    (broken / MODEL).write_bytes(b"no protobuf")
    with pytest.raises(BadInput, match="cannot be read"):
        read_spec(broken)


def test_the_parent_is_left_as_it_was(parents, tmp_path: Path):
    """coremltools writes the manifest of a package anew when it opens it."""
    parent = Path(shutil.copytree(parents["iOS17"], tmp_path / "parent.mlpackage"))
    text = json.dumps(json.loads((parent / "Manifest.json").read_text()))
    (parent / "Manifest.json").write_text(text)
    quantize_coreml_weights(parent, tmp_path / "made.mlpackage", scheme="p8")
    assert (parent / "Manifest.json").read_text() == (tmp_path / "made.mlpackage" / "Manifest.json").read_text() == text


def test_the_small_model_is_what_it_should_be(parents):
    assert [o.type for o in operations(parents["iOS17"])].count("linear") == 2
    assert weights_in(parents["iOS17"])[FLOAT[0]].values.shape[1] == CHANNELS
