"""Trials: what is measured is what an artifact of those graphs draws, and what no trial touches stays equal."""

import math
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from edgestep.artifact import BadInput, files_in, read_artifact, write_manifest
from edgestep.runtimes.drawing import Drawer
from edgestep.runtimes.registry import open_probe
from edgestep.search.bench import Bench, graph_bytes
from edgestep.search.fused import latents_of
from edgestep.search.trials import Change, Setting, Trial
from edgestep.search.writers import rows_but, writer_for
from tests.search.conftest import setting_of

CONV = "unet.mid_block.resnets.0.conv1"


@pytest.mark.parametrize(
    ("form", "width", "layer"),
    [("onnx", "w8a8", CONV), ("onnx", "w4-32", f"{CONV}/Conv"), ("openvino", "w8", f"{CONV}/Conv/WithoutBiases")],
)
def test_a_trial_measures_what_an_artifact_of_its_graphs_draws(float_artifact, tmp_path, form, width, layer):
    folder = float_artifact(form, "split")
    trial = Trial((Change("unet", layer, width),))
    with Bench(setting_of(folder, cases=3)) as bench:
        figures = bench.run(trial)
        (written,) = bench.written(trial, tmp_path / "scratch").values()
        replaced = tmp_path / "replaced"
        shutil.copytree(folder, replaced)
        for path in written.parent.glob(f"{written.stem}.*"):
            shutil.copyfile(path, replaced / "unet" / path.name)
        write_manifest(replaced, replace(bench.drawer.artifact, files=files_in(replaced)))
        with Drawer(replaced, threads=1) as drawer:
            drawn = [drawer.draw(**case.inputs) for case in bench.cases]
        pairs = [(case.picture[0], one.image[0]) for case, one in zip(bench.cases, drawn, strict=True)]
        x0 = [(case.x0, one.x0) for case, one in zip(bench.cases, drawn, strict=True)]
    assert figures.image_psnr_db == pytest.approx(min(peak_signal_noise_ratio(*pair) for pair in pairs), abs=1e-9)
    ssims = [structural_similarity(a, b, channel_axis=2, gaussian_weights=True, sigma=1.5,
                                   use_sample_covariance=False) for a, b in pairs]  # fmt: skip
    assert figures.image_ssim == pytest.approx(min(ssims), abs=0.05)  # theirs counts the border, which ours leaves out
    noise = [np.sum((a - b) ** 2) / np.sum(a**2) for a, b in x0]
    assert figures.x0_sqnr_db == pytest.approx(-10 * math.log10(max(noise)), rel=1e-4)
    assert figures.x0_noise == pytest.approx(float(np.mean(noise)), rel=1e-4)


def test_what_a_trial_does_not_touch_is_the_float_artifacts_own(float_artifact):
    folder = float_artifact("onnx", "split")
    with Bench(setting_of(folder)) as bench:
        before = bench.run(Trial(()))
        decoder = bench.run(Trial((Change("vae_decoder", "vae.decoder.mid_block.resnets.0.conv1/Conv", "w4-32"),)))
        after = bench.run(Trial(()))
    assert (before.x0_sqnr_db, before.image_psnr_db, before.x0_noise, before.image_noise) == (200, 200, 0, 0)
    assert decoder.x0_sqnr_db == 200
    assert decoder.image_noise > 0
    assert after == before
    assert before.bytes == sum(path.stat().st_size for path in folder.rglob("*.onnx*"))
    assert decoder.bytes < before.bytes


@pytest.mark.parametrize("form", ["onnx", "openvino"])
def test_a_fused_artifact_shows_the_x0_of_the_split_one(float_artifact, form: str):
    settings = [setting_of(float_artifact(form, "fused")), setting_of(float_artifact("onnx", "split"))]
    with Bench(settings[0]) as fused, Bench(settings[1]) as split:
        for one, other in zip(fused.cases, split.cases, strict=True):
            scale = np.vdot(one.x0, other.x0) / np.vdot(one.x0, one.x0)  # folded into the decoder, or not
            np.testing.assert_allclose(one.x0 * scale, other.x0, rtol=2e-3, atol=2e-3)
        conv = {"onnx": f"{CONV}/Conv", "openvino": f"{CONV}/Conv/WithoutBiases"}[form]
        found = fused.run(Trial((Change("generator", conv, "w4-32"),)))
        other = split.run(Trial((Change("unet", f"{CONV}/Conv", "w4-32"),)))
    assert 0 < found.x0_sqnr_db < 100
    if form == "onnx":
        assert found.x0_sqnr_db == pytest.approx(other.x0_sqnr_db, abs=0.5)


def test_a_graph_without_a_decoder_has_no_latents(float_artifact):
    folder = float_artifact("onnx", "split")
    view = open_probe("onnxruntime", folder / "unet" / "model.onnx").view
    assert latents_of(view, (4, 8, 8)) == ""


def test_another_artifact_than_the_settings_is_refused(float_artifact):
    folder = float_artifact("onnx", "split")
    setting = Setting(str(folder), "another", ("red heart",), 1, 2)
    with pytest.raises(BadInput, match="begin again"):
        Bench(setting)


def test_rows_keep_every_module_but_these():
    (row,) = rows_but({"unet.conv_in", "unet.mid.conv"})
    paths = ("unet.conv_in", "unet.mid.conv", "unet.conv_in2", "x.unet.conv_in", "a")
    assert [bool(re.search(row.pattern, path)) for path in paths] == [False, False, True, True, True]


@pytest.mark.parametrize(
    ("form", "widths", "said"),
    [
        ("onnx", {"w8a8", "w8"}, "alone"),
        ("onnx", {"w9"}, "some of"),
        ("onnx", {"fp32"}, "some of"),
        ("onnx", set(), "some of"),
        ("coreml", {"w8"}, "--mean-bits"),
    ],
)
def test_widths_that_nothing_writes_are_refused(form, widths, said):
    with pytest.raises(BadInput, match=said):
        writer_for(form, widths)


def test_graph_bytes_are_those_of_the_graphs(float_artifact):
    folder = float_artifact("openvino", "split")
    found = sum(p.stat().st_size for suffix in ("xml", "bin") for name in ("unet", "vae_decoder", "text_encoder")
                for p in (Path(folder) / name).glob(f"*.{suffix}"))  # fmt: skip
    assert graph_bytes(read_artifact(folder)) == found
