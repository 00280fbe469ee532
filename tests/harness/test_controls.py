"""The naive counterpart stands beside every quantized artifact, in the page, the Markdown and the JSON."""

from dataclasses import replace
from pathlib import Path

import pytest

from edgestep.artifact import BadInput
from edgestep.harness.parity.control import control_of
from edgestep.harness.parity.gates import gates_for
from edgestep.harness.reference.bundle import Reference
from edgestep.harness.reporting.controls import CONTROL_TITLE, controls_from_rows
from edgestep.harness.reporting.markdown import markdown_from_results
from edgestep.harness.reporting.report import html_from_results
from edgestep.harness.reporting.summary import rows_from_results
from edgestep.harness.results import Control, ParityResult, Results
from tests.harness.made_up import made_parity, made_results


def _with_control(psnr: float = 17.25) -> Results:
    results = made_results()
    naive = Control("emoji-onnx-naive_w8a8", "naive_w8a8", 5_000_000, made_parity("w8a8", psnr=psnr))
    artifacts = [replace(a, control=naive if a.scheme == "w8a8" else None) for a in results.artifacts]
    return replace(results, artifacts=tuple(artifacts))


def test_every_artifact_with_a_control_has_a_row_with_both_figures():
    results = _with_control()
    rows = controls_from_rows(rows_from_results(results))
    assert [row.row.artifact.name for row in rows] == [a.name for a in results.artifacts if a.scheme == "w8a8"]
    own, naive = rows[0].cells[4:6]
    assert naive == "17.2 dB" and own != naive
    assert rows[0].cells[3] == "5.00 MB"


def test_page_and_markdown_show_it_and_the_json_keeps_it(tmp_path: Path):
    results = _with_control()
    for text in (html_from_results(results, tmp_path), markdown_from_results(results)):
        assert CONTROL_TITLE in text and text.count("17.2 dB") == 4
    again = Results.from_json(results.to_json())
    assert again == results and again.artifacts[2].control is None
    assert CONTROL_TITLE not in html_from_results(made_results(), tmp_path)
    assert CONTROL_TITLE not in markdown_from_results(made_results())


def test_a_control_that_drew_nothing_leaves_dashes():
    results = _with_control()
    failed = replace(results.artifacts[4].control, parity=ParityResult("failed", failure="it crashed"))
    results = replace(results, artifacts=(replace(results.artifacts[4], control=failed),))
    (row,) = controls_from_rows(rows_from_results(results))
    assert row.cells[5] == "–" and row.cells[4] != "–"


def test_another_scheme_is_no_control(split_folder: Path, reference: Reference):
    with pytest.raises(BadInput, match=r"got .* of scheme 'fp32' as a control; expected naive_w8a8; make it with"):
        control_of(split_folder, reference, tell=lambda _: None)


def test_the_control_is_measured_against_the_limits_of_w8a8():
    assert gates_for("naive_w8a8", 14.6) == gates_for("w8a8", 14.6)
