"""`edgestep parity` as a user meets it: bad input is one line and 2, no pass is 1, gates by hand are told."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from edgestep.artifact import sha256_of_file
from edgestep.harness.reference.record import record_reference
from tests.exports import Exports
from tests.test_cli import edgestep, refused


@pytest.fixture(scope="module")
def made(tiny: Path, tiny_exports: Exports, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `artifact`, ONNX fp32 split, and `reference`, 4 cases."""
    folder = tmp_path_factory.mktemp("parity")
    (folder / "artifact").symlink_to(tiny_exports("onnx", "split"), target_is_directory=True)
    record_reference(tiny, device="cpu", cases=4, out=folder / "reference")
    return folder


def _changed_index(folder: Path, **changed) -> None:
    index = json.loads((folder / "reference.json").read_text())
    (folder / "reference.json").write_text(json.dumps({**index, **changed}))


def _changed_tensors(folder: Path, change) -> None:
    tensors = load_file(folder / "cases.safetensors")
    change(tensors)
    save_file(tensors, folder / "cases.safetensors")
    _changed_index(folder, tensors_sha256=sha256_of_file(folder / "cases.safetensors"))


def _another_case(folder: Path) -> None:
    _changed_tensors(folder, lambda t: t.update({n.replace("-00", "-09"): v for n, v in t.items() if "-00" in n}))


def _another_shape(folder: Path) -> None:
    _changed_tensors(folder, lambda t: t.update({"case-01.x0": np.ascontiguousarray(t["case-01.x0"][..., :4])}))


BUNDLES = {
    "another checkpoint": (lambda f: _changed_index(f, checkpoint_sha256="0" * 64), "made from checkpoint"),
    "another contract": (lambda f: _changed_index(f, timestep=499.0), "at timestep 999.0"),
    "missing tensors": (lambda f: _changed_tensors(f, lambda t: t.pop("case-02.x0")), "has no case-02.x0"),
    "a case more": (_another_case, "one more, case-09."),
    "another layout": (_another_shape, "case-01.x0 float32 [1, 4, 8, 4]"),
    "no file": (lambda f: (f / "cases.safetensors").unlink(), "no cases.safetensors"),
    "other bytes": (lambda f: _changed_index(f, tensors_sha256="0" * 64), "other bytes"),
    "no bundle": (lambda f: (f / "reference.json").unlink(), "without reference.json"),
}


@pytest.mark.parametrize("what", BUNDLES)
def test_a_bundle_that_does_not_fit_is_one_line(made: Path, tmp_path: Path, what: str):
    damage, words = BUNDLES[what]
    shutil.copytree(made / "reference", tmp_path / "reference")
    damage(tmp_path / "reference")
    refused(edgestep("parity", made / "artifact", "--reference", tmp_path / "reference"), words, "expected")


def test_an_artifact_whose_hash_differs_is_one_line(made: Path, tmp_path: Path):
    shutil.copytree(made / "artifact", tmp_path / "artifact")
    model = tmp_path / "artifact" / "unet" / "model.onnx"
    content = bytearray(model.read_bytes())
    content[len(content) // 2] ^= 1
    model.write_bytes(content)
    refused(edgestep("parity", tmp_path / "artifact", "--reference", made / "reference"), "SHA-256", "expected")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--runtime", "tpu"), "got runtime 'tpu'"),
        (("--gate", "image PSNR"), "got the gate 'image PSNR'"),
        (("--gate", "beauty>=3"), "got a gate on 'beauty'"),
        (("--cases", 3), "got --cases 3; expected 4 or more"),
        (("--cases", 5), "give --checkpoint"),
        (("--timeout", 0), "--timeout"),
    ],
)
def test_options_that_do_not_fit_are_one_line(made: Path, words, expected: str):
    refused(edgestep("parity", made / "artifact", "--reference", made / "reference", *words), expected)


def test_gates_by_hand_are_told_on_the_terminal_in_the_json_and_in_every_report(made: Path, tmp_path: Path):
    files = {name: tmp_path / name for name in ("parity.json", "summary.md", "report.html")}
    words = ("--gate", "image PSNR>=30", "--json", files["parity.json"], "--markdown", files["summary.md"])
    done = edgestep("parity", made / "artifact", "--reference", made / "reference", *words)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "OVERRIDDEN, the scheme's gate is ≥ 60" in done.stdout
    gates = json.loads(files["parity.json"].read_text())["artifacts"][0]["parity"]["gates"]
    told = {gate["measure"]: (gate["limit"], gate["scheme_limit"]) for gate in gates if gate["scheme_limit"]}
    assert told == {"image_psnr_db": (">= 30", ">= 60")}
    assert edgestep("report", files["parity.json"], "--out", files["report.html"]).returncode == 0
    summary, page = files["summary.md"].read_text(), files["report.html"].read_text()
    assert "image PSNR overridden by hand: ≥ 30 in place of ≥ 60" in summary
    assert "image PSNR overridden by hand: ≥ 30 in place of ≥ 60" in page
    for text in (done.stdout, summary, page):
        assert "PyTorch fp32 on the CPU" in text


def test_a_gate_that_nothing_reaches_is_no_pass(made: Path, tmp_path: Path):
    words = ("--gate", "x0 SQNR>=199.5", "--json", tmp_path / "parity.json")
    done = edgestep("parity", made / "artifact", "--reference", made / "reference", *words)
    assert done.returncode == 1, done.stdout + done.stderr
    parity = json.loads((tmp_path / "parity.json").read_text())["artifacts"][0]["parity"]
    gate = next(gate for gate in parity["gates"] if gate["measure"] == "x0_sqnr_db")
    assert parity["verdict"] in ("failed", "undecided")
    assert gate["unreachable"] is True and "unreachable" in done.stdout
    assert gate["count"] == 4 and gate["interval"][0] <= gate["median"] <= gate["interval"][1]


def test_more_cases_are_drawn_where_pytorch_is(made: Path, tiny: Path):
    words = ("--cases", 6, "--checkpoint", tiny)
    done = edgestep("parity", made / "artifact", "--reference", made / "reference", *words)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "of 6" in done.stdout and "2 more cases by PyTorch fp32 on the CPU" in done.stdout
