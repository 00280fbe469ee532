"""A Core ML artifact's parity is on its program, and every place that shows the verdict says so."""

import json
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from rich.console import Console

from edgestep.artifact import BadInput, sha256_of_file
from edgestep.harness.ci.junit import junit_from_results
from edgestep.harness.latency.measure import artifact_job
from edgestep.harness.parity.check import check_parity, evidence_of
from edgestep.harness.parity.words import notes_from_drawings, reason_from_gates
from edgestep.harness.reporting.lines import text_from_parity
from edgestep.harness.reporting.markdown import markdown_from_results
from edgestep.harness.reporting.markdown_gates import markdown_with_gates
from edgestep.harness.reporting.report import write_report
from edgestep.harness.reporting.terminal import table_from_results
from edgestep.harness.results import EVALUATED, Results
from edgestep.pytest_plugin.message import message_from_parity
from edgestep.runtimes.drawing import Drawing
from edgestep.runtimes.registry import SESSIONS
from edgestep.ship.gates import gates_from_parity
from tests.exports import Exports
from tests.harness.edited import edited
from tests.harness.made_up import made_results

LABEL = "graph parity (evaluated)"


@pytest.fixture(scope="module")
def coreml_folder(tiny_exports: Exports) -> Path:
    pytest.importorskip("coremltools")
    return tiny_exports("coreml", "split", "fp16")


def test_the_program_passes_and_is_called_what_it_is(coreml_folder, reference):
    result = check_parity(coreml_folder, reference, threads=1)
    assert (result.verdict, result.runtime, result.evidence, result.notes) == ("passed", "mil-evaluator", EVALUATED, ())
    assert result.called == LABEL
    assert text_from_parity(result).startswith(f"passed, {LABEL}")
    assert {"embeddings_sqnr_db", "x0_sqnr_db", "decoder_psnr_db"} <= {gate.measure for gate in result.gates}


def _vouch(folder: Path, path: str) -> None:
    """Let the manifest name the bytes that stand at `path` now."""
    manifest = json.loads((folder / "edgestep.json").read_text())
    listed = next(file for file in manifest["files"] if file["path"] == path)
    listed |= {"sha256": sha256_of_file(folder / path), "bytes": (folder / path).stat().st_size}
    (folder / "edgestep.json").write_text(json.dumps(manifest))


def test_a_damaged_weight_fails_by_the_same_gates(coreml_folder, reference, tmp_path):
    folder = edited(coreml_folder, tmp_path / "mutant")
    path = "Unet.mlpackage/Data/com.apple.CoreML/weights/weight.bin"
    weights = bytearray((folder / path).read_bytes())
    largest = np.frombuffer(weights, np.float16)[2048:-2048]
    largest[len(largest) // 2 :][:256] = 3  # in the midst of what the convolutions read
    (folder / path).write_bytes(weights)
    _vouch(folder, path)
    result = check_parity(folder, reference, threads=1)
    assert (result.verdict, result.evidence) == ("failed", EVALUATED)
    assert "x0_sqnr_db" in result.reason


def test_a_program_that_cannot_be_read_is_a_failed_row(coreml_folder, reference, tmp_path):
    folder = edited(coreml_folder, tmp_path / "mutant")
    path = "Unet.mlpackage/Data/com.apple.CoreML/weights/weight.bin"
    (folder / path).write_bytes((folder / path).read_bytes()[:4096])
    _vouch(folder, path)
    result = check_parity(folder, reference, threads=1)
    assert (result.verdict, result.evidence) == ("failed", EVALUATED)
    assert result.reason.startswith("mil-evaluator did not load it") and "truncated" in result.reason


def test_no_time_is_taken_of_an_evaluation(coreml_folder):
    with pytest.raises(BadInput, match="says nothing of a device"):
        artifact_job(coreml_folder)


def test_only_the_evaluator_is_one():
    assert {name for name in SESSIONS if evidence_of(name) == EVALUATED} == {"mil-evaluator"}


def test_an_overflow_is_told_with_its_cases_and_stands_before_what_failed():
    image = np.zeros((1, 2, 2, 3), np.uint8)
    over, other = (
        "unet: float16 overflow first at conv a (3 values)",
        "unet: float16 overflow first at conv b (1 value)",
    )
    drawings = [Drawing(None, None, None, image, notes=notes) for notes in ((), (over,), (over, other))]
    notes = notes_from_drawings(["case-00", "case-01", "case-02"], drawings)
    assert notes == (f"{over} in case-01 and 1 more", f"{other} in case-02")
    gates = made_results().artifacts[8].parity.gates
    reason = reason_from_gates("failed", gates, False, notes)
    assert reason.startswith(f"{notes[0]}; {notes[1]}; failed image_psnr_db")
    assert reason_from_gates("passed", (), False, notes) == "; ".join(notes)


@pytest.fixture
def evaluated() -> Results:
    """The made-up results with the Core ML artifact passed by evaluation, and a failed one beside it."""
    results = made_results()
    passed = replace(results.artifacts[0].parity, evidence=EVALUATED, runtime="mil-evaluator")
    failed = replace(results.artifacts[8].parity, evidence=EVALUATED, runtime="mil-evaluator")
    mac = results.artifacts[-1]
    added = (replace(mac, parity=passed), replace(mac, name="emoji-mac-w8a8", scheme="w8a8", parity=failed))
    return replace(results, artifacts=(*results.artifacts[:-1], *added))


def test_every_report_says_that_it_was_evaluated(evaluated, tmp_path):
    table = [line for line in markdown_from_results(evaluated).splitlines() if "| mac |" in line]
    assert ["passed (evaluated)" in line for line in table] == [True, False]
    assert "failed (evaluated)" in table[1]
    assert "(1 as graph parity, evaluated)" in markdown_from_results(evaluated)
    assert "no parity of the Neural Engine" in markdown_from_results(evaluated)
    assert markdown_with_gates(evaluated).count(LABEL) == 2
    write_report(replace(evaluated, cases=()), tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert page.count(f"<small>{LABEL}</small>") == 2 and "no parity of the Neural Engine" in page
    with Console(record=True, width=200, file=(tmp_path / "table.txt").open("w")) as console:
        console.print(table_from_results(evaluated))
    assert console.export_text().count("(evaluated)") == 2


def test_the_others_do_not(evaluated):
    rest = replace(evaluated, artifacts=evaluated.artifacts[:-2])
    assert "evaluated" not in markdown_from_results(rest) + markdown_with_gates(rest) + junit_from_results(rest)


def test_junit_the_card_and_pytest_say_it_too(evaluated):
    suites = ElementTree.fromstring(junit_from_results(evaluated)).findall("testsuite")
    told = [[p.get("value") for p in suite.findall("properties/property")] for suite in suites]
    assert told == [[]] * (len(suites) - 2) + [[LABEL]] * 2
    failed = evaluated.artifacts[-1].parity
    assert "no parity of the Neural Engine" in gates_from_parity(failed, "PyTorch on the CPU")
    assert f"on mil-evaluator, {LABEL}, against" in message_from_parity(failed, "a", "b", "none")


def test_a_result_is_read_back_as_it_was(evaluated):
    read = Results.from_json(evaluated.to_json())
    assert [a.parity.evidence for a in read.artifacts[-2:]] == [EVALUATED, EVALUATED]
    assert {a.parity.evidence for a in read.artifacts[:-2]} == {"device"}
