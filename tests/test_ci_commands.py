"""The commands of a CI as it meets them: exit status, files, one line for bad input."""

import json
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from edgestep.ci_commands import write_for_ci
from edgestep.harness.results import Results, write_results
from tests.harness.made_up import made_results
from tests.test_cli import edgestep, refused

OLD = Path(__file__).parent / "harness" / "old_results" / "report-v1.json"


@pytest.fixture
def results() -> Results:
    return made_results()


def test_compare_exits_with_1_where_something_got_worse(results: Results, tmp_path: Path):
    write_results(results, tmp_path / "old.json")
    larger = replace(results.artifacts[0], bytes=results.artifacts[0].bytes * 2)
    write_results(replace(results, artifacts=(larger, *results.artifacts[1:])), tmp_path / "new.json")
    files = ("--json", tmp_path / "out" / "c.json", "--markdown", tmp_path / "c.md")
    done = edgestep("compare", tmp_path / "old.json", tmp_path / "new.json", *files)
    assert done.returncode == 1, done.stderr
    assert done.stdout.splitlines()[0] == "Worse:" and "42.3 MB  84.6 MB" in done.stdout
    assert [change["what"] for change in json.loads((tmp_path / "out" / "c.json").read_text())["worse"]] == ["bytes"]
    assert "| emoji-x86-fp32-split | size |" in (tmp_path / "c.md").read_text()
    assert edgestep("compare", tmp_path / "new.json", tmp_path / "old.json").returncode == 0
    wide = edgestep("compare", tmp_path / "old.json", tmp_path / "new.json", "--size-margin", "1.5")
    assert wide.returncode == 0, wide.stdout


def test_compare_reads_what_an_older_edgestep_wrote():
    done = edgestep("compare", OLD, OLD)
    assert (done.returncode, done.stdout) == (0, "4 artifacts compared: no figures worse, none better.\n")


def test_compare_bad_input(tmp_path: Path):
    newer = json.loads(OLD.read_text()) | {"schema": {"name": "edgestep.report", "version": 2}}
    (tmp_path / "newer.json").write_text(json.dumps(newer))
    refused(edgestep("compare", OLD, tmp_path / "newer.json"), "version 2", "expected", "update")
    refused(edgestep("compare", OLD, tmp_path / "none.json"), "none.json", "expected")
    refused(edgestep("compare", OLD, OLD, "--size-margin", "-1"), "--size-margin")
    refused(edgestep("compare", OLD, OLD, "--gate-margin", "nan"), "gate", "margin")
    refused(edgestep("compare", OLD, OLD, "--json", tmp_path), "cannot be written")


def test_schema_prints_json_and_refuses_another_name():
    done = edgestep("schema", "parity")
    assert json.loads(done.stdout)["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    refused(edgestep("schema", "colours"), "colours", "expected one of report, parity")


def test_files_for_ci(results: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    for _ in range(2):
        write_for_ci(results, junit=tmp_path / "deep" / "j.xml", markdown=tmp_path / "m.md")
    assert ElementTree.parse(tmp_path / "deep" / "j.xml").getroot().get("failures") == "1"
    assert (tmp_path / "m.md").read_text().count("**emoji: 11 artifacts") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["deep", "m.md"]


def test_a_jobs_summary_is_appended_to(results: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    summary = tmp_path / "summary.md"
    summary.write_text("before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    for _ in range(2):
        write_for_ci(results, junit=None, markdown=summary)
    text = summary.read_text()
    assert text.startswith("before\n**emoji: 11 artifacts") and text.count("**emoji: 11 artifacts") == 2
