"""The command line as a user meets it: one clear line and exit status 2 for bad input, nothing half-written left."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


def edgestep(*words: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "edgestep.cli", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd)


def refused(done: subprocess.CompletedProcess[str], *words: str) -> None:
    """Exit status 2, one line that says what was got and the words expected, no traceback."""
    lines = [line for line in done.stderr.splitlines() if line.startswith("edgestep: ")]
    assert done.returncode == 2, done.stderr
    assert len(lines) == 1, done.stderr
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in lines[0], lines[0]


@pytest.fixture(scope="module")
def fused(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cli") / "fused"
    done = edgestep("export", tiny, "--format", "onnx", "--layout", "fused", "--out", folder)
    assert done.returncode == 0, done.stderr
    assert all(line.startswith("[") for line in done.stderr.splitlines()), done.stderr  # no library's chatter
    return folder


def test_generate_draws_the_same_picture_from_seed_and_from_noise(fused: Path, tmp_path: Path):
    contract = json.loads((fused / "edgestep.json").read_text())["contract"]
    noise = np.random.default_rng(7).standard_normal((1, *contract["latent_shape"]), dtype=np.float32)
    np.save(tmp_path / "noise.npy", noise)
    for out, words in {"seed.png": ("--seed", 7), "noise.png": ("--noise", tmp_path / "noise.npy")}.items():
        done = edgestep("generate", fused, "red heart", *words, "--out", tmp_path / out)
        assert done.returncode == 0, done.stderr
    first, second = (np.asarray(Image.open(tmp_path / name)) for name in ("seed.png", "noise.png"))
    assert first.shape == (*contract["image_size"], 3)
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("prompt", ["", "   ", "heart " * 40])
def test_generate_refuses_prompts_that_do_not_fit(fused: Path, tmp_path: Path, prompt: str):
    refused(edgestep("generate", fused, prompt, "--out", tmp_path / "p.png"), "expected")
    assert list(tmp_path.iterdir()) == []


def test_generate_refuses_noise_of_another_shape(fused: Path, tmp_path: Path):
    np.save(tmp_path / "noise.npy", np.zeros((1, 2, 3), np.float32))
    done = edgestep("generate", fused, "red heart", "--noise", tmp_path / "noise.npy", "--out", tmp_path / "p.png")
    refused(done, "(1, 2, 3)", "expected float32")


def test_generate_refuses_pickled_noise(fused: Path, tmp_path: Path):
    np.save(tmp_path / "noise.npy", np.array([{}], dtype=object), allow_pickle=True)
    done = edgestep("generate", fused, "red heart", "--noise", tmp_path / "noise.npy", "--out", tmp_path / "p.png")
    refused(done, "cannot be read")


def test_a_changed_weight_is_noticed(fused: Path, tmp_path: Path):
    broken = tmp_path / "broken"
    shutil.copytree(fused, broken)
    model = next(broken.glob("*.onnx"))
    content = bytearray(model.read_bytes())
    content[len(content) // 2] ^= 1
    model.write_bytes(content)
    refused(edgestep("generate", broken, "red heart", "--out", tmp_path / "p.png"), "SHA-256")


@pytest.mark.parametrize("command", ["inspect", "export", "ship", "reference"])
def test_no_checkpoint(tmp_path: Path, command: str):
    (tmp_path / "empty").mkdir()
    words = {
        "inspect": (),
        "export": ("--out", tmp_path / "out"),
        "ship": ("--target", "x86", "--out", tmp_path / "out"),
        "reference": ("--out", tmp_path / "out"),
    }[command]
    refused(edgestep(command, tmp_path / "empty", *words), "model_index.json")
    refused(edgestep(command, tmp_path / "nowhere", *words), "expected")
    assert not (tmp_path / "out").exists()


def damaged(tiny: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "damaged"
    shutil.copytree(tiny, folder)
    return folder


def test_truncated_weights(tiny: Path, tmp_path: Path):
    folder = damaged(tiny, tmp_path)
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    done = edgestep("ship", folder, "--target", "x86", "--out", tmp_path / "out")
    refused(done, "diffusion_pytorch_model.safetensors")
    assert not (tmp_path / "out").exists()


def test_missing_weights(tiny: Path, tmp_path: Path):
    folder = damaged(tiny, tmp_path)
    (folder / "vae" / "diffusion_pytorch_model.safetensors").unlink()
    refused(edgestep("inspect", folder), "vae", "safetensors")


def test_pickle_is_refused_unless_asked_for(tiny: Path, tmp_path: Path):
    import torch
    from safetensors.torch import load_file

    folder = damaged(tiny, tmp_path)
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    torch.save(load_file(weights), weights.with_suffix(".bin"))
    weights.unlink()
    refused(edgestep("inspect", folder), "pickle", "--allow-pickle")
    assert edgestep("inspect", folder, "--allow-pickle").returncode == 0


def test_unknown_pipeline_and_target(tiny: Path, tmp_path: Path):
    refused(edgestep("ship", tiny, "--target", "toaster", "--out", tmp_path / "out"), "'toaster'", "x86")
    folder = damaged(tiny, tmp_path)
    index = json.loads((folder / "model_index.json").read_text())
    index["_class_name"] = "MysteryPipeline"
    (folder / "model_index.json").write_text(json.dumps(index))
    refused(edgestep("inspect", folder), "MysteryPipeline")


def test_out_that_is_not_empty_or_not_writable(tiny: Path, tmp_path: Path):
    full = tmp_path / "full"
    full.mkdir()
    (full / "mine.txt").write_text("keep me")
    for words in (("ship", tiny, "--target", "x86"), ("export", tiny), ("reference", tiny)):
        refused(edgestep(*words, "--out", full), "not empty")
    assert [p.name for p in full.iterdir()] == ["mine.txt"]
    refused(edgestep("export", tiny, "--out", "/proc/nowhere/out"), "cannot be")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_full_disk_leaves_nothing(fused: Path):
    done = edgestep("targets", "--json", "/dev/full")
    refused(done, "room")


def test_usage_errors_are_one_line(tmp_path: Path):
    refused(edgestep("ship"), "Missing argument")
    refused(edgestep("paint"), "paint")
    refused(edgestep("generate", tmp_path, "red heart", "--seed", "-1", "--out", "x.png"), "--seed")
    refused(edgestep("generate", tmp_path, "red heart", "--out", "x.jpg"), ".png")


def test_targets_lists_what_there_is(tmp_path: Path):
    done = edgestep("targets", "--json", tmp_path / "targets.json")
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "targets.json").read_text())
    assert [row["name"] for row in rows] == ["x86", "intel", "mac", "iphone"]
    assert all(row["name"] in done.stdout for row in rows)


@pytest.fixture(scope="module")
def reference(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cli") / "reference"
    done = edgestep("reference", tiny, "--device", "cpu", "--cases", 4, "--out", folder)
    assert done.returncode == 0, done.stderr
    assert all(line.startswith("[") for line in done.stderr.splitlines()), done.stderr  # no library's chatter
    return folder


def test_parity_passes_a_true_artifact_and_its_json_makes_a_report(fused: Path, reference: Path, tmp_path: Path):
    results = tmp_path / "parity.json"
    done = edgestep("parity", fused, "--reference", reference, "--json", results)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "passed" in done.stdout
    row = json.loads(results.read_text())["artifacts"][0]
    assert row["parity"]["verdict"] == "passed"
    assert {"measure", "worst", "limit", "case", "passed"} <= set(row["parity"]["gates"][0])
    done = edgestep("report", results, "--out", tmp_path / "report.html")
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "report.html").read_text()
    assert "1 artifact" in page
    assert "passed" in page


def test_parity_refuses_the_reference_of_another_checkpoint(fused: Path, reference: Path, tmp_path: Path):
    swapped = tmp_path / "swapped"
    shutil.copytree(reference, swapped)
    index = json.loads((swapped / "reference.json").read_text())
    index["checkpoint_sha256"] = "0" * 64
    (swapped / "reference.json").write_text(json.dumps(index))
    refused(edgestep("parity", fused, "--reference", swapped), "checkpoint", "expected")


def test_parity_exits_with_1_when_a_gate_fails(fused: Path, reference: Path, tmp_path: Path):
    import hashlib

    from safetensors.numpy import load_file, save_file

    turned = tmp_path / "turned"
    shutil.copytree(reference, turned)
    tensors = load_file(turned / "cases.safetensors")
    tensors = {name: np.ascontiguousarray(v[:, ::-1]) if name.endswith(("image", "picture")) else v
               for name, v in tensors.items()}  # fmt: skip
    save_file(tensors, turned / "cases.safetensors")
    index = json.loads((turned / "reference.json").read_text())
    index["tensors_sha256"] = hashlib.sha256((turned / "cases.safetensors").read_bytes()).hexdigest()
    (turned / "reference.json").write_text(json.dumps(index))
    done = edgestep("parity", fused, "--reference", turned)
    assert done.returncode == 1, done.stderr
    assert "FAIL" in done.stdout


def test_quantize_and_bench_against_the_parent(fused: Path, tmp_path: Path):
    small, results = tmp_path / "small", tmp_path / "bench.json"
    done = edgestep("quantize", fused, "--scheme", "w8a8", "--out", small)
    assert done.returncode == 0, done.stderr
    done = edgestep("bench", small, "--against", fused, "--threads", 1, "--json", results)
    assert done.returncode == 0, done.stderr
    raw = json.loads(results.read_text())
    assert [row["scheme"] for row in raw["artifacts"]] == ["w8a8", "fp32"]
    assert raw["ratios"][0]["ratio"] > 0
    (tmp_path / "long.txt").write_text("heart\n" + "heart " * 40)
    refused(edgestep("quantize", fused, "--prompts", tmp_path / "long.txt", "--out", tmp_path / "again"), "tokens")
    refused(edgestep("quantize", small, "--out", tmp_path / "again"), "w8a8")
    refused(edgestep("quantize", fused, "--scheme", "w3", "--out", tmp_path / "again"), "'w3'")
    assert not (tmp_path / "again").exists()


def test_a_shard_index_cannot_leave_its_folder(tiny: Path, tmp_path: Path):
    folder = damaged(tiny, tmp_path)
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    weights.rename(tmp_path / "outside.safetensors")
    index = {"weight_map": {"conv_in.weight": "../../outside.safetensors"}}
    weights.with_suffix(".safetensors.index.json").write_text(json.dumps(index))
    refused(edgestep("inspect", folder), "inside")
