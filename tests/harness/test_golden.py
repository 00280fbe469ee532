"""The golden bundle: a few cases in the artifact, listed and checked like its other files, and judged by themselves."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from edgestep.artifact import BadInput, read_artifact
from edgestep.harness.parity.check import check_parity
from edgestep.harness.parity.golden import CASES, keep_golden, read_golden
from tests.harness.edited import edited
from tests.test_cli import edgestep, refused


@pytest.fixture
def folder(split_folder: Path, tmp_path: Path) -> Path:
    return shutil.copytree(split_folder, tmp_path / "artifact")


def test_the_first_cases_are_kept_and_decide_every_gate(folder, reference):
    before = read_artifact(folder)
    artifact = keep_golden(folder, reference)
    assert read_artifact(folder) == artifact  # every file with its hash
    assert {f.path for f in artifact.files} - {f.path for f in before.files} == {
        *("golden/cases.safetensors", "golden/reference.json")
    }
    assert artifact.bytes == before.bytes  # no app ships it
    golden = read_golden(folder)
    assert [case.name for case in golden.cases] == [case.name for case in reference.cases[:CASES]]
    for kept, case in zip(golden.cases, reference.cases, strict=False):
        np.testing.assert_array_equal(kept.picture, case.picture)
        np.testing.assert_array_equal(kept.noise, case.noise)
    assert golden.index.label == reference.index.label and golden.index.floor == reference.index.floor
    result = check_parity(folder, golden, threads=1)
    assert (result.verdict, result.cases) == ("passed", CASES)
    assert all(gate.passed for gate in result.gates)


def test_kept_again_nothing_is_written(folder, reference):
    keep_golden(folder, reference)
    before = {p: p.stat().st_mtime_ns for p in folder.rglob("*") if p.is_file()}
    keep_golden(folder, reference)
    assert before == {p: p.stat().st_mtime_ns for p in folder.rglob("*") if p.is_file()}
    keep_golden(folder, reference, cases=2)
    assert len(read_golden(folder).cases) == 2


def test_another_checkpoints_cases_are_refused_and_leave_nothing(split_folder, reference, tmp_path):
    folder = edited(split_folder, tmp_path / "artifact", checkpoint_sha256="0" * 64)
    with pytest.raises(BadInput, match="made from checkpoint"):
        keep_golden(folder, reference)
    assert not [p for p in folder.iterdir() if "golden" in p.name]


def test_a_changed_bundle_is_seen(folder, reference):
    keep_golden(folder, reference)
    path = folder / "golden/cases.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(BadInput, match="other bytes"):
        read_golden(folder)


def test_parity_without_a_reference_takes_it(folder, bundle_folder):
    refused(edgestep("parity", folder), "no --reference", "--keep-golden")
    refused(edgestep("parity", folder, "--keep-golden"), "--reference")
    done = edgestep("parity", folder, "--reference", bundle_folder, "--keep-golden")
    assert done.returncode == 0, done.stderr
    again = edgestep("parity", folder)
    assert again.returncode == 0, again.stderr
    assert "case 4 of 4" in again.stderr and "case 8 of 8" in done.stderr
    assert "its golden bundle" in again.stderr
