"""The main job on a tiny random checkpoint: whole, killed and resumed, and run again."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edgestep.artifact import read_artifact
from edgestep.harness.figures import measure_text
from edgestep.harness.results import read_results

COMMAND = [sys.executable, "-W", "ignore", "-m", "edgestep.cli", "ship"]


def command(checkpoint: Path, out: Path) -> list[str]:
    return [*COMMAND, str(checkpoint), "--target", "x86", "--cases", "4", "--threads", "1", "--out", str(out)]


def ship(checkpoint: Path, out: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(checkpoint, out), capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def shipped(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """One whole run, killed once on the way, as soon as the first artifact stands."""
    out = tmp_path_factory.mktemp("ship") / "out"
    first = subprocess.Popen(command(tiny, out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    artifacts = out / "artifacts"
    while first.poll() is None and not (artifacts.is_dir() and [p for p in artifacts.iterdir() if p.name[0] != "."]):
        time.sleep(0.05)
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    assert not (out / "report.html").exists()
    for artifact in artifacts.iterdir():
        if not artifact.name.startswith("."):
            read_artifact(artifact)  # whatever stands under its final name is whole
    return out, ship(tiny, out)


def test_a_killed_run_is_gone_on_with(shipped):
    out, done = shipped
    assert done.returncode in (0, 1), done.stderr
    assert "kept from the last run" in done.stderr
    assert not list(out.rglob(".*partial*"))  # nor what the killed run left aside
    results = read_results(out / "report.json")
    names = {artifact.name for artifact in results.artifacts}
    assert names == {f"tiny-onnx-{s}{layout}" for s in ("fp32", "fp16", "w8a8") for layout in ("", "-fused")}
    failed = {a.name for a in results.artifacts if a.parity is None or a.parity.verdict == "failed"}
    assert (done.returncode == 1) == bool(failed)
    assert not failed & {"tiny-onnx-fp32", "tiny-onnx-fp32-fused"}


def test_every_card_says_what_its_own_artifact_passed(shipped):
    out, _ = shipped
    for result in read_results(out / "report.json").artifacts:
        folder = out / result.folder
        card = (folder / "README.md").read_text()
        read_artifact(folder)  # the manifest has the hash of the card as it is now
        assert "Not checked yet" not in card
        assert card.count("## Gates") == 1
        assert card.count("SSIM") == 1, card
        worst = next(gate.worst for gate in result.parity.gates if gate.measure == "image_psnr_db")
        assert measure_text("image_psnr_db", worst) in card


def test_the_report_stands_alone_and_the_json_keeps_its_keys(shipped):
    out, _ = shipped
    page = (out / "report.html").read_text()
    assert "http://" not in page.replace("http://www.w3.org/", "")
    raw = json.loads((out / "report.json").read_text())
    assert {"schema", "machine", "tools", "contract", "artifacts"} <= set(raw)
    for row in raw["artifacts"]:
        assert {"name", "target", "scheme", "layout", "bytes", "parity", "latency"} <= set(row)
        assert row["latency"]["kind"] == "real"
        assert row["latency"]["p50_s"] > 0
        files = [p for p in (out / row["folder"]).rglob("*") if p.is_file() and p.name != "edgestep.json"]
        assert row["bytes"] == sum(p.stat().st_size for p in files)
        assert len(row["pictures"]) == 4
        assert all((out / picture).is_file() for picture in row["pictures"])
    assert [b["name"] for b in raw["baselines"]] == ["PyTorch eager, one step", "teacher, 50 steps with guidance"]
    assert any("teacher" in ratio["name"] for ratio in raw["ratios"])


def test_a_second_run_does_nothing_again(shipped, tiny: Path):
    out, _ = shipped
    before = {p: p.stat().st_mtime_ns for p in (out / "artifacts").rglob("*") if p.is_file()}
    report = json.loads((out / "report.json").read_text())
    again = ship(tiny, out)
    assert again.returncode in (0, 1), again.stderr
    told = [line for line in again.stderr.splitlines() if line.startswith("[")]
    assert all("kept from the last run" in line or "drawing report" in line for line in told), again.stderr
    assert before == {p: p.stat().st_mtime_ns for p in (out / "artifacts").rglob("*") if p.is_file()}
    assert json.loads((out / "report.json").read_text()) == report


@pytest.mark.slow
def test_core_ml_is_evaluated_and_takes_its_golden_bundle_along(tiny: Path, tmp_path: Path):
    pytest.importorskip("coremltools")
    out = tmp_path / "out"
    words = [*COMMAND, str(tiny), "--target", "mac", "--cases", "4", "--out", str(out)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    results = read_results(out / "report.json")
    assert {artifact.name for artifact in results.artifacts} == {"tiny-mac-fp16", "tiny-mac-fp16-fused"}
    verdicts = {artifact.parity.verdict for artifact in results.artifacts}
    assert done.returncode == (0 if verdicts == {"passed"} else 1), done.stderr
    for artifact in results.artifacts:
        assert (artifact.parity.evidence, artifact.latency, len(artifact.pictures)) == ("evaluated", None, 4)
        assert (out / artifact.folder / "golden" / "reference.json").is_file()
        assert "no parity of the Neural Engine" in (out / artifact.folder / "README.md").read_text()
        read_artifact(out / artifact.folder)
    assert results.baselines == () and "(evaluated)" in done.stdout
    again = subprocess.run(words, capture_output=True, text=True, check=False)
    told = [line for line in again.stderr.splitlines() if line.startswith("[")]
    assert all("kept from the last run" in line or "drawing report" in line for line in told), again.stderr
