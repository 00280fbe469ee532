"""An export that is killed, or refused while it writes, leaves nothing behind that a rerun would trip over."""

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

COMMAND = [sys.executable, "-W", "ignore", "-m", "edgestep.cli", "export"]


def _command(checkpoint: Path, out: Path, *words: str) -> list[str]:
    return [*COMMAND, str(checkpoint), "--format", "onnx", "--layout", "split", *words, "--out", str(out)]


def _hashes(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


EARLY = [pytest.param(file, marks=pytest.mark.slow) for file in ("", "text_encoder/model.onnx")]


@pytest.mark.parametrize("appears", [*EARLY, "unet/model.onnx"])
def test_a_killed_export_leaves_the_same_bytes_when_run_again(make, tiny: Path, tmp_path: Path, appears: str):
    """Killed as soon as that file is there: at the start, and between two graphs."""
    out = tmp_path / "out"
    first = subprocess.Popen(_command(tiny, out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    aside = tmp_path / f".out.partial-{first.pid}"
    while first.poll() is None and not (aside / appears).exists():
        time.sleep(0.001)
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    assert first.returncode == -signal.SIGKILL
    assert [path.name for path in tmp_path.iterdir()] == [aside.name]
    done = subprocess.run(_command(tiny, out), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert _hashes(out) == _hashes(make("onnx", "fp32", "split").folder)


def test_a_weight_that_is_not_finite_is_named_and_nothing_is_left(tiny_copy: Path, tmp_path: Path):
    """It is seen only when it is read, after other graphs were written."""
    weights = tiny_copy / "vae" / "diffusion_pytorch_model.safetensors"
    state = load_file(weights)
    state["decoder.conv_in.weight"][0, 0, 0, 0] = torch.nan
    save_file(state, weights)
    _refused(tiny_copy, tmp_path / "out", "decoder.conv_in.weight", "not finite")


def test_shapes_that_do_not_fit_are_all_listed_and_nothing_is_left(tiny_copy: Path, tmp_path: Path):
    weights = tiny_copy / "unet" / "diffusion_pytorch_model.safetensors"
    state = load_file(weights)
    state["conv_in.weight"] = state["conv_in.weight"][:, :3].contiguous()
    state["conv_in.extra"] = torch.zeros(3)
    del state["conv_out.bias"]
    save_file(state, weights)
    _refused(tiny_copy, tmp_path / "out", "conv_out.bias", "conv_in.extra", "conv_in.weight [16, 3, 3, 3]")


def _refused(checkpoint: Path, out: Path, *says: str) -> None:
    done = subprocess.run(_command(checkpoint, out), capture_output=True, text=True, check=False)
    lines = [line for line in done.stderr.splitlines() if line.startswith("edgestep: ")]
    assert done.returncode == 2, done.stderr
    assert len(lines) == 1, done.stderr
    for word in says:
        assert word in lines[0]
    assert not list(out.parent.glob("*out*"))


@pytest.fixture
def tiny_copy(tiny: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny, tmp_path / "checkpoint"))
