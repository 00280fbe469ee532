"""The emoji generator with one damaged layer: bisection names that layer and its operator, and no other."""

from pathlib import Path

import pytest

from edgestep.harness.bisection.bisect import bisect_artifact
from edgestep.harness.reference.prompts import PROMPTS
from edgestep.quantize.run import quantize
from edgestep.quantize.schemes import SAMPLES
from edgestep.ship.calibration import calibration_from_prompts
from tests.harness.bisect_mutants import DAMAGES
from tests.harness.mutants.mutant import OPENVINO, SPLIT, Mutant, damaged
from tests.harness.tapped import Tapped


@pytest.mark.parametrize("form", [SPLIT, OPENVINO])
def test_the_sound_artifact_has_no_suspect(tapped: Tapped, form: str):
    emoji, reference, taps = tapped
    found = bisect_artifact(emoji.artifact(form), reference, taps, threads=1)
    assert found.suspects == ()
    assert len(found.taps) > 400
    assert min(tap.local_db for tap in found.taps) > 110
    assert {tap.component for tap in found.taps} == {"text_encoder", "unet", "vae_decoder"}


QUICK = ("noise", "bias dropped", "norm epsilon")
"""Of OpenVINO's, which take 2 s each, those that run in the default suite; all of ONNX's do."""
CASES = [
    pytest.param(form, name, id=f"{form}-{name}", marks=() if form == SPLIT or name in QUICK else pytest.mark.slow)
    for form in (SPLIT, OPENVINO)
    for name in DAMAGES
]


@pytest.mark.parametrize(("form", "name"), CASES)
def test_the_damaged_layer_is_named(tapped: Tapped, tmp_path: Path, form: str, name: str):
    emoji, reference, taps = tapped
    damage = DAMAGES[name]
    make = damage.onnx if form == SPLIT else damage.openvino
    with damaged(emoji.artifact(form), Mutant(name, make, (form,)), tmp_path / "mutant") as folder:
        found = bisect_artifact(folder, reference, taps, threads=1)
    assert [tap.module for tap in found.suspects] == [damage.module]
    culprit = found.suspects[0]
    assert damage.op in culprit.ops
    assert culprit.op == damage.op or not damage.exact


@pytest.mark.slow
@pytest.mark.parametrize("form", [SPLIT, OPENVINO])
def test_a_damaged_layer_is_named_among_quantized_ones(tapped: Tapped, tmp_path: Path, form: str):
    emoji, reference, taps = tapped
    w8a8 = tmp_path / "w8a8"
    # As the command calibrates: from random token ids instead, the worst layer of a sound artifact has 11 dB.
    feeds = calibration_from_prompts(PROMPTS, SAMPLES, strict=False).feeds(emoji.artifact(form))
    quantize(emoji.artifact(form), scheme="w8a8", out=w8a8, feeds=feeds)
    sound = bisect_artifact(w8a8, reference, taps, threads=1)
    assert sound.suspects == ()
    assert 15 < sound.ranked[0].local_db < 40
    # OpenVINO's linear layers have integer weights alone, and no tap of theirs is quantized.
    assert sum(tap.quantized for tap in sound.taps) > (100 if form == SPLIT else 60)
    damage = DAMAGES["residual dropped"]
    make = damage.onnx if form == SPLIT else damage.openvino
    with damaged(w8a8, Mutant("residual dropped", make, (form,)), tmp_path / "mutant") as folder:
        found = bisect_artifact(folder, reference, taps, threads=1)
    assert [(tap.module, tap.op) for tap in found.suspects] == [(damage.module, damage.op)]
