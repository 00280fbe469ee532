"""Results that an older edgestep wrote: each version's file reads, compares and fits the schema of today."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from edgestep.artifact import BadInput
from edgestep.harness.ci.compare import compare_results
from edgestep.harness.ci.schema import schema_named
from edgestep.harness.plain import plain_from
from edgestep.harness.reporting.markdown_gates import markdown_with_gates
from edgestep.harness.reporting.report import write_report
from edgestep.harness.results import READABLE_VERSIONS, REPORT_VERSION, Results, read_results

FOLDER = Path(__file__).parent / "old_results"
FILES = sorted(FOLDER.glob("report-v*.json"))
NEWER_KEYS = {"median", "interval", "count", "failures", "unreachable", "scheme_limit"}
"""Keys of a gate that version 1 had not when its file was written."""


def test_every_version_that_reads_has_a_file():
    assert [path.name for path in FILES] == [f"report-v{version}.json" for version in READABLE_VERSIONS]
    assert REPORT_VERSION in READABLE_VERSIONS


def test_version_1_reads_as_it_was_written():
    path = FOLDER / "report-v1.json"
    gates = json.loads(path.read_text())["artifacts"][2]["parity"]["gates"]
    assert not any(NEWER_KEYS & gate.keys() for gate in gates)  # the file is still the old one
    results = read_results(path)
    assert [artifact.parity and artifact.parity.verdict for artifact in results.artifacts] == [
        *("passed", "passed", "failed", "unchecked")
    ]
    failed = results.artifacts[2]
    assert failed.name == "emoji-intel-w8a8-split" and failed.bytes == 11_820_000
    assert failed.parity and failed.latency
    gate = next(gate for gate in failed.parity.gates if gate.passed is False)
    assert (gate.measure, gate.worst, gate.limit, gate.case) == ("image_psnr_db", 26.43, ">= 28", "case-02")
    assert (failed.latency.kind, failed.latency.threads) == ("real", 2)
    assert results.contract and results.contract.timestep == 999.0


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_old_results_do_all_that_new_ones_do(path: Path, tmp_path: Path):
    old = read_results(path)
    Draft202012Validator(schema_named("report")).validate(json.loads(path.read_text()))
    assert plain_from(Results.from_json(old.to_json())) == plain_from(old)  # plain: a NaN is not equal to itself
    assert compare_results(old, old).worse == ()
    fewer = replace(old, artifacts=old.artifacts[1:])
    assert [change.what for change in compare_results(old, fewer).worse] == ["artifact"]
    assert "emoji-intel-w8a8-split: failed" in markdown_with_gates(old)
    write_report(replace(old, cases=()), tmp_path / "report.html")
    assert "emoji" in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize(
    "schema,word",
    [
        ({"name": "edgestep.report", "version": REPORT_VERSION + 1}, "update"),
        ({"name": "edgestep.report", "version": 99}, "update"),
        ({"name": "edgestep.report", "version": 0}, "measure again"),
        ({"name": "edgestep.other", "version": 1}, "measure again"),
        ({}, "no results"),
    ],
)
def test_another_version_is_refused_in_one_line(schema, word, tmp_path: Path):
    raw = json.loads((FOLDER / "report-v1.json").read_text()) | {"schema": schema}
    (tmp_path / "new.json").write_text(json.dumps(raw))
    with pytest.raises(BadInput, match=word) as caught:
        read_results(tmp_path / "new.json")
    assert "\n" not in str(caught.value) and "new.json" in str(caught.value)
