"""quantize() on Core ML artifacts: whole new artifacts that the evaluator draws with, and graphs in pieces."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgestep.artifact import BadInput, read_artifact
from edgestep.export.coreml.chunks import chunk_package
from edgestep.quantize.coreml_pieces import feeds_of_next, inputs_of
from edgestep.quantize.coreml_w8a8 import quantize_coreml_w8a8
from edgestep.quantize.quantizers import Options
from edgestep.quantize.run import quantize, quantize_key
from edgestep.quantize.schemes import SCHEMES
from edgestep.runtimes.drawing import Drawer
from edgestep.ship.coreml_evaluation import evaluate
from tests.quantize.conftest import cases, feeds_of, picture_psnr
from tests.quantize.coreml_models import samples, save_small_unet

pytestmark = pytest.mark.slow

SPLIT = [("split", scheme) for scheme in ("w8", "p6", "w8a8", "mixed")]
FORMS = [*SPLIT, *(pytest.param("fused", scheme, marks=pytest.mark.slow) for scheme in ("p8", "w8a8"))]
PICTURE_DB = {"w8": 40, "p8": 36, "p6": 30, "w8a8": 34, "mixed": 22}
"""The random generator's pictures, at least; measured: see the assertion's message. A sanity bound, not a gate."""


@pytest.fixture(scope="module")
def made(float_artifact, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Path]:
    root = tmp_path_factory.mktemp("coreml")

    def folder(layout: str, scheme: str) -> Path:
        out = root / f"{layout}-{scheme}"
        if not out.exists():
            parent = float_artifact("coreml", layout, "fp16")
            feeds = feeds_of(parent, 3) if SCHEMES[scheme].calibrated else None
            quantize(parent, scheme=scheme, out=out, feeds=feeds, options=Options(evaluate))
        return out

    return folder


@pytest.mark.parametrize(("layout", "scheme"), FORMS)
def test_the_manifest_says_what_was_made(float_artifact, made, layout: str, scheme: str):
    parent = read_artifact(float_artifact("coreml", layout, "fp16"))
    artifact = read_artifact(made(layout, scheme))
    assert (artifact.scheme, artifact.parent) == (scheme, parent.key)
    assert artifact.name == parent.name.replace("fp16", scheme)
    assert (artifact.contract, artifact.components, artifact.options) == (
        parent.contract,
        parent.components,
        parent.options,
    )
    assert {file.path for file in artifact.files} == {file.path for file in parent.files}
    assert artifact.bytes < parent.bytes
    assert any(note.startswith("calibration: 3 samples") for note in artifact.notes) == SCHEMES[scheme].calibrated
    assert any("layers quantized" in note for note in artifact.notes)
    assert f"coreml, {scheme}, {layout}" in (made(layout, scheme) / "README.md").read_text()
    assert not list(made(layout, scheme).parent.glob(".*"))  # nothing is left beside it


@pytest.mark.parametrize(("layout", "scheme"), FORMS)
def test_only_programs_and_weights_differ_from_the_parent(float_artifact, made, layout: str, scheme: str):
    parent = {file.path: file.sha256 for file in read_artifact(float_artifact("coreml", layout, "fp16")).files}
    changed = {file.path for file in read_artifact(made(layout, scheme)).files if parent[file.path] != file.sha256}
    assert {Path(path).name for path in changed} == {"model.mlmodel", "weight.bin", "README.md"}


@pytest.mark.parametrize(("layout", "scheme"), FORMS)
def test_still_draws_the_parents_picture(float_artifact, made, layout: str, scheme: str):
    with Drawer(float_artifact("coreml", layout, "fp16")) as one, Drawer(made(layout, scheme)) as other:
        drawn = [
            picture_psnr(one.draw(*case).image, other.draw(*case).image)
            for case in cases(one.artifact.contract, 2, seed=7)
        ]
    assert min(drawn) > PICTURE_DB[scheme]


def test_weight_only_schemes_have_no_calibration_in_their_key(float_artifact, made):
    parent = read_artifact(float_artifact("coreml", "split", "fp16"))
    assert read_artifact(made("split", "w8")).key == quantize_key(parent.key, "w8")
    assert quantize_key(parent.key, "w8", "drawn") == quantize_key(parent.key, "w8")
    assert quantize_key(parent.key, "w8a8", "drawn") != quantize_key(parent.key, "w8a8")
    assert quantize_key(parent.key, "mixed", mean_bits=3) != quantize_key(parent.key, "mixed")
    assert quantize_key(parent.key, "p4", mean_bits=3) == quantize_key(parent.key, "p4")


def test_named_modules_stay_float_and_unknown_ones_are_refused(float_artifact, tmp_path: Path):
    parent = float_artifact("coreml", "split", "fp16")
    artifact = quantize(parent, scheme="p4", out=tmp_path / "p4", keep=["unet.mid_block.resnets.0.conv1"])
    assert any("named by --keep-fp32: unet_mid_block_resnets.*.conv1 (1)" in note for note in artifact.notes)
    with pytest.raises(BadInput, match="such as unet_down_blocks"):
        quantize(parent, scheme="p4", out=tmp_path / "other", keep=["unet.mid_block.resnets.9.conv1"])


def test_w4_before_ios_18_leaves_nothing(float_artifact, tmp_path: Path):
    with pytest.raises(BadInput, match="--deployment-target iOS18"):
        quantize(float_artifact("coreml", "split", "fp16"), scheme="w4", out=tmp_path / "w4")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("scheme", ["w8a8", "mixed"])
def test_calibrated_schemes_ask_for_samples(float_artifact, tmp_path: Path, scheme: str):
    with pytest.raises(BadInput, match="0 calibration samples for text_encoder"):
        quantize(float_artifact("coreml", "split", "fp16"), scheme=scheme, out=tmp_path / "made")


def test_a_piece_is_fed_what_those_before_it_gave(tmp_path: Path):
    whole = save_small_unet(tmp_path / "Unet.mlpackage")
    kept = Path(shutil.copytree(whole, tmp_path / "kept.mlpackage"))
    first, second = chunk_package(whole, 140_000)
    fed = inputs_of(first, samples())
    after, known = feeds_of_next(first, second, fed, fed, evaluate)
    assert all(
        np.array_equal(values["sample"], sample["sample"]) for values, sample in zip(known, samples(), strict=True)
    )
    with evaluate(kept) as opened, evaluate(second) as last:
        for feed, sample in zip(after, samples(), strict=True):
            assert np.allclose(last.run(feed)["out"], opened.run(sample)["out"], atol=1e-5)
    layers = quantize_coreml_w8a8(second, tmp_path / "made.mlpackage", after, evaluate=evaluate)
    assert layers.layers
