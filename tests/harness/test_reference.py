"""Bundles: what PyTorch drew is what diffusers' own pipeline draws; reading one trusts nothing."""

import json
import subprocess
import sys
from dataclasses import asdict
from itertools import combinations
from types import SimpleNamespace

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from edgestep.artifact import BadInput, sha256_of_file
from edgestep.harness.reference import fingerprint, measured_floor, record
from edgestep.harness.reference.bundle import INDEX, TENSORS, read_reference, write_bundle
from edgestep.harness.reference.measured_floor import HALF_CASES
from edgestep.harness.reference.prompts import PROMPTS, prompts_for
from edgestep.harness.reference.record import case_plan, noise_numbered, record_reference
from edgestep.harness.reference.torch_one_step import check_device


def test_cases_are_what_the_pipeline_of_diffusers_draws(torch_tiny, reference):
    import torch

    for case in reference.cases[::3]:
        drawn = torch_tiny.pipe(
            case.prompt,
            num_inference_steps=1,
            guidance_scale=1.0,
            latents=torch.from_numpy(case.noise),
            output_type="np",
        ).images
        assert np.allclose(case.image, drawn, atol=1e-6)
        pictures = torch_tiny.pipe.numpy_to_pil(drawn)
        assert np.array_equal(case.picture[0], np.asarray(pictures[0]))


def test_x0_is_the_closed_form(torch_tiny, reference):
    """x0 = (z - sqrt(1 - a) eps) / sqrt(a) at t = 999, in float64 from the betas."""
    import torch

    case = reference.cases[0]
    alpha = np.prod(1 - np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2)
    with torch.inference_mode():
        embeds = torch.from_numpy(case.prompt_embeds)
        predicted = torch_tiny.pipe.unet(torch.from_numpy(case.noise), 999, encoder_hidden_states=embeds).sample
    x0 = (case.noise - np.sqrt(1 - alpha) * predicted.numpy()) / np.sqrt(alpha)
    assert np.allclose(case.x0, x0, rtol=1e-4, atol=1e-4)


def test_the_bundle_says_what_drew_it(reference, bundle_folder, tiny):
    from edgestep.export.source.checkpoint import open_checkpoint

    index = reference.index
    assert index.checkpoint_sha256 == open_checkpoint(tiny).sha256
    assert (index.timestep, index.prompt_tokens, index.latent_shape, index.image_size) == (
        999.0,
        16,
        (4, 8, 8),
        (16, 16),
    )
    assert index.label.startswith("PyTorch fp32 on the CPU")
    assert index.floor["fp32_again x0_sqnr_db"] == 200.0
    assert (
        20
        < index.floor["bf16 x0_sqnr_db"]
        < index.floor["fp16 x0_sqnr_db"]
        < index.floor["fp32_other_threads x0_sqnr_db"]
    )
    assert "NaN" not in (bundle_folder / INDEX).read_text()


def test_two_recordings_differ_in_their_timestamp_alone(tiny, tmp_path, bundle_folder, reference):
    prompts = list(dict.fromkeys(case.prompt for case in reference.cases))
    record_reference(tiny, device="cpu", cases=8, out=tmp_path / "again", prompts=prompts)
    assert (tmp_path / "again" / TENSORS).read_bytes() == (bundle_folder / TENSORS).read_bytes()
    texts = [(folder / INDEX).read_text() for folder in (tmp_path / "again", bundle_folder)]
    stamps = [json.loads(text)["recorded"] for text in texts]
    texts = [text.replace(stamp, "") for text, stamp in zip(texts, stamps, strict=True)]
    assert texts[0] == texts[1]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["again"]


def test_the_floor_has_every_row_of_a_cpu_and_every_measure(reference):
    rows = ("fp32_again", "fp32_other_threads", "fp16", "bf16")
    measures = ("embeddings_sqnr_db", "x0_sqnr_db", "image_psnr_db", "image_ssim", "prompt_sensitivity")
    measures += ("noise_sensitivity",)
    assert set(reference.index.floor) == {f"{row} {measure}" for row in rows for measure in measures}
    assert reference.index.floor["fp32_again image_ssim"] == reference.index.floor["fp32_again prompt_sensitivity"] == 1


def test_the_floor_is_what_pytorch_draws_in_that_precision(torch_tiny, reference):
    """Drawn and measured once more, without the code that records."""
    other = torch_tiny.again(precision="bf16")
    worst = []
    for case in reference.cases[:HALF_CASES]:
        x0 = other.draw(**case.inputs).x0.astype(np.float64)
        worst.append(10 * np.log10(np.sum(case.x0.astype(np.float64) ** 2) / np.sum((case.x0 - x0) ** 2)))
    assert reference.index.floor["bf16 x0_sqnr_db"] == pytest.approx(min(worst), abs=0.006)


def test_a_large_model_has_fewer_rows_on_a_cpu_and_says_so(monkeypatch, torch_tiny, reference):
    monkeypatch.setattr(measured_floor, "SMALL", 1)
    monkeypatch.setattr(measured_floor, "HALF_ON_CPU", 1)
    floor, notes = measured_floor.measure_floor(torch_tiny, reference.cases)
    assert {key.split()[0] for key in floor} == {"fp32_again", "fp32_other_threads"}
    assert notes[0] == "floor: the worst of the first 3 of 8 cases" and "not measured" in notes[1]


def test_the_fingerprint_says_what_pytorch_ran_on(reference):
    import torch

    fingerprint = reference.index.fingerprint
    assert (fingerprint.device, fingerprint.torch) == ("cpu", torch.__version__)
    assert fingerprint.threads >= 1
    assert (fingerprint.name, fingerprint.driver, fingerprint.cuda, fingerprint.cudnn) == ("", "", "", "")


def test_the_fingerprint_on_cuda_has_driver_libraries_and_switches(monkeypatch, tmp_path):
    (tmp_path / "version").write_text("NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue Mar 5\nGCC 12\n")
    monkeypatch.setattr(fingerprint, "_DRIVER", tmp_path / "version")
    backends = SimpleNamespace(
        cuda=SimpleNamespace(matmul=SimpleNamespace(allow_tf32=False)),
        cudnn=SimpleNamespace(allow_tf32=True, version=lambda: 91002),
    )
    torch = SimpleNamespace(
        __version__="2.13.0+cu130",
        version=SimpleNamespace(cuda="13.0"),
        backends=backends,
        cuda=SimpleNamespace(get_device_name=lambda: "NVIDIA L4"),
        get_num_threads=lambda: 4,
    )
    expected = fingerprint.Fingerprint(
        "cuda", "NVIDIA L4", "550.54.15", "2.13.0+cu130", "13.0", "91002", False, True, 4
    )
    assert fingerprint.fingerprint_from_torch(torch, "cuda") == expected
    assert fingerprint.fingerprint_from_torch(torch, "mps").name == "Apple GPU (MPS)"


def test_mps_is_taken_where_torch_has_it():
    def torch(there: bool):
        return SimpleNamespace(backends=SimpleNamespace(mps=SimpleNamespace(is_available=lambda: there)))

    check_device(torch(True), "mps")
    with pytest.raises(BadInput, match="got device 'mps' on a machine without it"):
        check_device(torch(False), "mps")


@pytest.mark.cuda
def test_on_cuda_the_reference_is_exact_and_its_floor_has_tf32_and_the_cpu(tiny, tmp_path):
    import torch

    if not torch.cuda.is_available():
        pytest.skip("no NVIDIA GPU here")
    recorded = record_reference(tiny, device="cuda", cases=8, out=tmp_path / "cuda")
    index = recorded.index
    assert index.label == f"PyTorch fp32, TF32 off, on {torch.cuda.get_device_name()}"
    assert index.fingerprint.driver and index.fingerprint.cudnn
    assert not index.fingerprint.tf32_matmul and not index.fingerprint.tf32_cudnn
    assert {key.split()[0] for key in index.floor} == {"fp32_again", "cpu_fp32", "tf32", "fp16", "bf16"}
    assert index.floor["cpu_fp32 x0_sqnr_db"] > 80 > index.floor["bf16 x0_sqnr_db"]


def test_32_cases_of_the_bundled_generator_stay_below_8_megabytes(emoji, tmp_path, monkeypatch):
    monkeypatch.setattr(record, "measure_floor", lambda model, cases, tell: ({}, ()))  # figures, not bytes that grow
    recorded = record_reference(emoji, device="cpu", cases=32, out=tmp_path / "emoji")
    assert len(recorded.cases) == 32
    assert sum(path.stat().st_size for path in (tmp_path / "emoji").iterdir()) <= 8_000_000


def test_equal_cases_give_equal_bytes(bundle_folder, tmp_path, reference):
    write_bundle(tmp_path, asdict(reference.index), reference.cases)
    for name in (INDEX, TENSORS):
        assert (tmp_path / name).read_bytes() == (bundle_folder / name).read_bytes()


@pytest.mark.parametrize(("cases", "prompts", "expected"), [(8, 32, (12, 4)), (3, 32, (1, 1)), (6, 2, (3, 6))])
def test_cases_pair_prompts_with_noises(cases, prompts, expected):
    plan = case_plan(cases, prompts)
    pairs = list(combinations(plan, 2))
    of_prompts = sum(a[1] == b[1] and a[0] != b[0] for a, b in pairs)
    of_noises = sum(a[0] == b[0] and a[1] != b[1] for a, b in pairs)
    assert (of_prompts, of_noises) == expected
    assert len(set(plan)) == cases and max(p for p, _ in plan) < prompts


def test_noises_differ_and_are_normal():
    first, second = (noise_numbered(i, (16, 64, 64)) for i in (0, 1))
    assert first.dtype == np.float32 and not np.array_equal(first, second)
    assert np.array_equal(first, noise_numbered(0, (16, 64, 64)))
    assert abs(first.mean()) < 0.02 and abs(first.std() - 1) < 0.02


def test_prompts_of_the_checkpoint_come_first(tmp_path):
    assert prompts_for(tmp_path) == PROMPTS and len(PROMPTS) == len(set(PROMPTS)) == 32
    (tmp_path / "prompts.txt").write_text("# two\na dog\n\n a cat \na dog\n")
    assert prompts_for(tmp_path) == ("a dog", "a cat")
    (tmp_path / "prompts.txt").write_text("\n")
    with pytest.raises(BadInput, match="no prompt"):
        prompts_for(tmp_path)


def test_recording_refuses_what_cannot_be(tiny, tmp_path):
    import torch

    def record(**changed):
        return record_reference(tiny, **{"device": "cpu", "cases": 1, "out": tmp_path / "new", **changed})

    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    refused = [
        ({"device": "tpu"}, "expected cpu, cuda or mps"),
        ({"cases": 0}, "expected 1 or more"),
        ({"out": tmp_path / "full"}, "not empty"),
        ({"prompts": ["  "]}, "empty prompt"),
        ({"prompts": ["very long " * 40]}, "shorten it"),
    ]
    if not torch.cuda.is_available():
        refused.append(({"device": "cuda"}, "without it"))
    for changed, match in refused:
        with pytest.raises(BadInput, match=match):
            record(**changed)
    with pytest.raises(BadInput, match=r"model_index\.json"):
        record_reference(tmp_path, device="cpu", cases=1, out=tmp_path / "new")
    assert not (tmp_path / "new").exists()


def _copy(bundle_folder, tmp_path):
    for name in (INDEX, TENSORS):
        (tmp_path / name).write_bytes((bundle_folder / name).read_bytes())
    return tmp_path


def _rewrite(folder, change):
    tensors = load_file(folder / TENSORS)
    change(tensors)
    save_file(tensors, folder / TENSORS)
    index = json.loads((folder / INDEX).read_text())
    index["tensors_sha256"] = sha256_of_file(folder / TENSORS)
    (folder / INDEX).write_text(json.dumps(index))


def _nan(tensors):
    tensors["case-01.x0"][0, 0, 0, 0] = np.nan


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda t: t.pop("case-03.noise"), r"has no case-03\.noise"),
        (lambda t: [t.pop(name) for name in list(t) if name.startswith("case-07.")], r"has no case-07\."),
        (lambda t: t.update({"case-99.noise": t["case-00.noise"]}), r"one more, case-99\.noise"),
        (lambda t: t.update({"case-00.x0": t["case-00.x0"][:, :2]}), r"case-00\.x0 float32"),
        (lambda t: t.update({"case-00.input_ids": t["case-00.input_ids"].astype(np.int32)}), "int32"),
        (lambda t: t.update({"case-00.picture": t["case-00.image"]}), "expected uint8"),
        (_nan, "NaN or infinity"),
    ],
)
def test_tensors_that_do_not_fit_are_bad_input(bundle_folder, tmp_path, change, match):
    _rewrite(_copy(bundle_folder, tmp_path), change)
    with pytest.raises(BadInput, match=match):
        read_reference(tmp_path)


@pytest.mark.parametrize(
    ("key", "value", "match"),
    [
        ("schema", "edgestep.reference/2", "got schema"),
        ("cases", [], "case names"),
        ("latent_shape", [4, 8], "list of 3"),
        ("machine", None, "an object"),
        ("timestep", None, "not finite"),
        ("tensors_sha256", "00", "other bytes"),
    ],
)
def test_an_index_that_does_not_fit_is_bad_input(bundle_folder, tmp_path, key, value, match):
    folder = _copy(bundle_folder, tmp_path)
    index = json.loads((folder / INDEX).read_text())
    (folder / INDEX).write_text(json.dumps({**index, key: value}))
    with pytest.raises(BadInput, match=match):
        read_reference(folder)


def test_missing_and_truncated_files_are_bad_input(bundle_folder, tmp_path):
    with pytest.raises(BadInput, match="without reference"):
        read_reference(tmp_path)
    folder = _copy(bundle_folder, tmp_path)
    (folder / TENSORS).write_bytes((bundle_folder / TENSORS).read_bytes()[:-9])
    with pytest.raises(BadInput, match="other bytes"):
        read_reference(folder)
    (folder / TENSORS).unlink()
    with pytest.raises(BadInput, match=r"no cases\.safetensors"):
        read_reference(folder)
    (folder / INDEX).write_text("[]")
    with pytest.raises(BadInput, match="got schema None"):
        read_reference(folder)


def test_reading_needs_no_torch(bundle_folder):
    code = (
        "import sys; from pathlib import Path; from edgestep.harness.reference.bundle import read_reference; "
        f"read_reference(Path({str(bundle_folder)!r})); "
        "import edgestep.harness.reference.record; assert 'torch' not in sys.modules and 'diffusers' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
