"""The example workflow is real: it parses, its edgestep commands exist with these options, and its steps run."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from edgestep.cli import app

WORKFLOW = Path(__file__).parent.parent / "examples" / "ci" / "github-actions.yml"
JOBS: dict[str, Any] = yaml.safe_load(WORKFLOW.read_text())["jobs"]
SCRIPTS = {f"{job}: {s['name']}": s["run"] for job in JOBS for s in JOBS[job]["steps"] if "run" in s}
LINES = [
    line.strip()
    for script in SCRIPTS.values()
    for line in re.sub(r"\\\n\s*", "", script).splitlines()
    if line.strip().startswith("edgestep ")
]


@pytest.mark.parametrize("line", LINES)
def test_every_command_of_the_workflow_parses(line: str):
    words = shlex.split(line)[1:]
    command = typer.main.get_command(app).commands[words[0]]  # type: ignore[attr-defined]
    command.make_context(words[0], words[1:])


def test_every_mention_of_the_command_was_parsed():
    mentioned = sum(len(re.findall(r"\bedgestep (?=[a-z])", script)) for script in SCRIPTS.values())
    assert mentioned == len(LINES)
    assert {line.split()[1] for line in LINES} == {"export", "reference", "parity", "compare", "ship"}


def test_every_step_runs_or_uses_one_thing_and_every_action_names_its_version():
    for job in JOBS.values():
        assert job["runs-on"] and job["timeout-minutes"]
        for step in job["steps"]:
            assert ("run" in step) != ("uses" in step)
            assert re.fullmatch(r"[\w-]+/[\w/-]+@v\d+", step.get("uses", "a/b@v1"))


def test_what_is_uploaded_is_what_the_commands_write():
    for job in JOBS.values():
        written = " ".join(step.get("run", "") for step in job["steps"])
        upload = next(step for step in job["steps"] if step.get("uses", "").startswith("actions/upload-artifact"))
        for path in upload["with"]["path"].split():
            assert path.split("/")[0] in written


@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS)
def test_scripts_are_good_bash(script: str):
    assert subprocess.run(["bash", "-n"], input=script, text=True, capture_output=True, check=False).returncode == 0


@pytest.mark.slow
def test_the_gate_job_runs(tiny: Path, tmp_path: Path):
    """Every step but the installation: a push that leaves its figures, then a change that is compared with them."""
    summary = tmp_path / "summary.md"
    edgestep = f'edgestep() {{ "{sys.executable}" -m edgestep.cli "$@"; }}\n'
    env = os.environ | {"CHECKPOINT": str(tiny), "GITHUB_STEP_SUMMARY": str(summary)}
    scripts = [step["run"] for step in JOBS["gate"]["steps"] if "run" in step and step["name"] != "Install"]
    for script in [*scripts, next(script for script in scripts if "compare" in script)]:
        done = subprocess.run(
            ["bash", "-e", "-c", edgestep + script], cwd=tmp_path, env=env, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
    assert "1 artifact compared: no figures worse, none better" in summary.read_text()
    assert {path.name for path in (tmp_path / "results").iterdir()} == {
        *("parity.json", "parity.xml", "comparison.json")
    }
