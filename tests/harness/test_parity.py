"""Parity of real artifacts of the tiny checkpoint: faithful ones pass, mutants and crashes never do."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from edgestep.artifact import MANIFEST, BadInput, sha256_of_file
from edgestep.harness.parity import check as parity
from edgestep.harness.parity.check import check_parity, draw_and_check
from edgestep.harness.parity.gates import IMAGE_PSNR, X0_SQNR
from edgestep.harness.parity.judge import FUSED_ABSENT
from edgestep.harness.reference import same_model
from edgestep.harness.reporting.lines import text_from_parity
from edgestep.harness.results import ParityResult
from edgestep.runtimes.drawing import Drawer, Drawing
from tests.harness.drawn_here import drawn_here
from tests.harness.edited import edited


def test_the_split_artifact_passes(split_folder, reference):
    told: list[str] = []
    checked = draw_and_check(split_folder, reference, threads=1, tell=told.append)
    assert (checked.result.verdict, checked.result.reason, checked.result.absent) == ("passed", "", ())
    assert checked.result.cases == len(told) == len(checked.pictures) == 8
    for case, picture in zip(reference.cases, checked.pictures, strict=True):
        assert np.abs(case.picture[0].astype(int) - picture).max() <= 1


def test_the_fused_artifact_passes_and_says_what_it_does_not_show(fused_folder, reference):
    result = check_parity(fused_folder, reference, threads=1)
    assert (result.verdict, result.absent) == ("passed", FUSED_ABSENT)
    assert "no x0" in result.reason
    assert not {gate.measure for gate in result.gates} & set(FUSED_ABSENT)


@pytest.mark.cuda
def test_the_split_artifact_passes_on_cuda(split_folder, reference):
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        pytest.skip("no onnxruntime-gpu here")
    result = check_parity(split_folder, reference, runtime="onnxruntime-cuda")
    assert (result.verdict, result.reason, result.runtime) == ("passed", "", "onnxruntime-cuda")


def test_cuda_that_is_not_there_is_no_pass(split_folder, reference):
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("onnxruntime-gpu is installed")
    result = check_parity(split_folder, reference, runtime="onnxruntime-cuda")
    assert result.verdict == "failed" and "edgestep[cuda]" in result.reason


def _rehash(folder: Path, path: str) -> None:
    manifest = json.loads((folder / MANIFEST).read_text())
    for file in manifest["files"]:
        if file["path"] == path:
            file |= {"sha256": sha256_of_file(folder / path), "bytes": (folder / path).stat().st_size}
    (folder / MANIFEST).write_text(json.dumps(manifest))


def _judged(monkeypatch: pytest.MonkeyPatch, folder: Path, reference, change) -> ParityResult:
    """Judge drawings that went through `change(drawer, drawing, input_ids, noise)`."""

    def changed(drawer, drawing, case):
        return change(drawer, drawing, case.input_ids, case.noise)

    monkeypatch.setattr(parity, "draw_apart", drawn_here(changed))
    return check_parity(folder, reference)


def _decoded(drawer: Drawer, drawing: Drawing, x0: np.ndarray) -> Drawing:
    latent = x0 / np.float32(drawer.artifact.contract.latent_scale)
    sample = drawer._run("vae_decoder", {"latent_sample": latent}, {}, {})["sample"]
    image = np.round(np.clip(sample / 2 + 0.5, 0, 1) * 255).astype(np.uint8).transpose(0, 2, 3, 1)
    return replace(drawing, x0=x0, sample=sample, image=image)


def _wrong_k_e(drawer, drawing, input_ids, noise):
    one = drawer.artifact.contract
    predicted = (one.k_z * noise - drawing.x0) / one.k_e
    return _decoded(drawer, drawing, (one.k_z * noise - 1.0043 * one.k_e * predicted).astype(np.float32))


def _swapped_prompts(drawer, drawing, input_ids, noise):
    return Drawer.draw(drawer, np.roll(input_ids, 1, axis=1), noise)


def _swapped_noise(drawer, drawing, input_ids, noise):
    return Drawer.draw(drawer, input_ids, -noise)


def _shuffled_latent_channels(drawer, drawing, input_ids, noise):
    return _decoded(drawer, drawing, np.ascontiguousarray(drawing.x0[:, ::-1]))


def _shuffled_colours(drawer, drawing, input_ids, noise):
    return replace(drawing, image=np.ascontiguousarray(drawing.image[..., ::-1]))


def _one_nan(drawer, drawing, input_ids, noise):
    x0 = drawing.x0.copy()
    x0[0, 0, 0, 0] = np.nan
    return _decoded(drawer, drawing, x0)


def _constant_image(drawer, drawing, input_ids, noise):
    return replace(drawing, image=np.zeros_like(drawing.image))


@pytest.mark.parametrize(
    "change",
    [
        _wrong_k_e,
        _swapped_prompts,
        _swapped_noise,
        _shuffled_latent_channels,
        _shuffled_colours,
        _one_nan,
        _constant_image,
    ],
)
def test_mutants_of_what_is_drawn_fail(monkeypatch, split_folder, reference, change):
    result = _judged(monkeypatch, split_folder, reference, change)
    assert result.verdict == "failed"
    assert result.reason.startswith("failed ")


def test_a_dropped_latent_scale_fails(split_folder, reference, tmp_path):
    folder = edited(split_folder, tmp_path / "mutant", contract__latent_scale=1.0)
    result = check_parity(folder, reference, threads=1)
    assert result.verdict == "failed" and "image_psnr_db" in result.reason


def test_what_is_not_changed_passes(monkeypatch, split_folder, reference):
    assert _judged(monkeypatch, split_folder, reference, lambda drawer, drawing, *_: drawing).verdict == "passed"


def test_another_timestep_fails(monkeypatch, split_folder, reference, torch_tiny):
    """What an artifact would draw that was exported at t = 979: the network and the formula both at that t."""
    import torch

    def at_979(drawer, drawing, input_ids, noise):
        scheduler = torch_tiny.pipe.scheduler
        scheduler.set_timesteps(timesteps=[979])
        latents, embeds = torch.from_numpy(noise), torch.from_numpy(drawing.prompt_embeds)
        with torch.inference_mode():
            predicted = torch_tiny.pipe.unet(latents, 979, encoder_hidden_states=embeds).sample
            x0 = scheduler.step(predicted, scheduler.timesteps[0], latents).prev_sample
        return _decoded(drawer, drawing, x0.numpy())

    result = _judged(monkeypatch, split_folder, reference, at_979)
    assert result.verdict == "failed" and "x0_sqnr_db" in result.reason


def test_a_truncated_weight_file_never_passes(split_folder, reference, tmp_path):
    folder = edited(split_folder, tmp_path / "mutant")
    path = next(c["file"] for c in json.loads((folder / MANIFEST).read_text())["components"] if c["name"] == "unet")
    whole = (folder / path).read_bytes()
    (folder / path).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BadInput, match="bytes"):
        check_parity(folder, reference)
    _rehash(folder, path)  # even a manifest that vouches for it
    result = check_parity(folder, reference)
    assert result.verdict == "failed" and result.reason.startswith("onnxruntime did not load it")


@pytest.mark.parametrize(
    ("changed", "match"),
    [
        ({"checkpoint_sha256": "0" * 64}, "made from checkpoint"),
        ({"contract__latent_shape": [4, 8, 9]}, "for latents"),
        ({"contract__image_size": [16, 32]}, "for pictures"),
        ({"contract__prompt_tokens": 15}, "for prompt tokens"),
        ({"contract__timestep": 998.0}, "at timestep"),
        ({"contract__base": "sdxl"}, "on the base"),
        ({"scheme": "w3"}, "got scheme"),
        ({"format": "tflite"}, "got runtime"),
    ],
)
def test_what_does_not_fit_the_reference_is_bad_input(split_folder, reference, tmp_path, changed, match):
    folder = edited(split_folder, tmp_path / "other", **changed)
    with pytest.raises(BadInput, match=match):
        check_parity(folder, reference)


def test_a_runtime_that_is_not_there_is_bad_input(monkeypatch, split_folder, reference):
    with pytest.raises(BadInput, match="got runtime 'tpu'"):
        check_parity(split_folder, reference, runtime="tpu")
    monkeypatch.setattr(same_model.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(BadInput, match=r"pip install edgestep$"):
        check_parity(split_folder, reference)
    with pytest.raises(BadInput, match=r"pip install 'edgestep\[openvino\]'$"):
        check_parity(split_folder, reference, runtime="openvino")


def test_the_command_imports_no_torch_in_any_of_its_processes(split_folder, bundle_folder, tmp_path):
    """Packages of these names stand first on the path of every process, and leave a mark when they are imported."""
    for name in ("torch", "diffusers", "transformers", "onnx", "openvino", "nncf", "matplotlib"):
        (tmp_path / "path" / name).mkdir(parents=True)
        mark = f"import pathlib; pathlib.Path({str(tmp_path / name)!r}).touch(); raise ImportError({name!r})\n"
        (tmp_path / "path" / name / "__init__.py").write_text(mark)
    command = [sys.executable, "-m", "edgestep.cli", "parity", split_folder, "--reference", bundle_folder]
    env = {**os.environ, "PYTHONPATH": str(tmp_path / "path")}
    done = subprocess.run([*map(str, command)], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("passed")
    assert [path.name for path in tmp_path.iterdir()] == ["path"]


def test_the_mark_of_the_test_above_is_left_where_torch_is_imported(tmp_path):
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text(f"open({str(tmp_path / 'mark')!r}, 'w')\n")
    subprocess.run(
        [sys.executable, "-P", "-c", "import torch"], env={**os.environ, "PYTHONPATH": str(tmp_path)}, check=True
    )
    assert (tmp_path / "mark").is_file()


def test_a_gate_given_by_hand_is_told_wherever_the_result_is(split_folder, reference):
    result = check_parity(split_folder, reference, threads=1, overrides=["image PSNR>=30", "x0 sqnr >= 199"])
    gates = {gate.measure: gate for gate in result.gates}
    assert (gates[IMAGE_PSNR].limit, gates[IMAGE_PSNR].scheme_limit) == (">= 30", ">= 60")
    assert gates[X0_SQNR].passed is not True and gates[X0_SQNR].scheme_limit == ">= 80"
    assert result.verdict in ("failed", "undecided")
    assert "overridden by hand: x0_sqnr_db >= 199 for >= 80, image_psnr_db >= 30 for >= 60" in result.reason
    assert "OVERRIDDEN, the scheme's gate is ≥ 60" in text_from_parity(result)
    assert result.reference_label.startswith("PyTorch fp32 on the CPU")


def test_a_gate_on_what_a_fused_graph_does_not_show_is_bad_input(fused_folder, reference):
    with pytest.raises(BadInput, match="got a gate on 'x0 SQNR'"):
        check_parity(fused_folder, reference, overrides=["x0 SQNR>=30"])
