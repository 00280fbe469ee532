"""The docs are true: every command is documented, and the README's commands exist with the options it gives them."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from edgestep.cli import app
from edgestep.export.recipe.families import FAMILIES, PLAIN

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
COMMANDS = sorted(typer.main.get_command(app).commands)  # type: ignore[attr-defined]
DISTILL = typer.main.get_command(app).commands["distill"]  # type: ignore[attr-defined]
BLOCKS = re.findall(r"^```bash\n(.*?)^```", README, re.MULTILINE | re.DOTALL) + re.findall(
    r"^    .*$", README, re.MULTILINE
)
SHOWN = [line.strip() for block in BLOCKS for line in block.splitlines() if line.strip().startswith("edgestep ")]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_stands_in_the_readme(command: str):
    assert f"`edgestep {command}`" in README


def test_the_readme_names_no_command_that_is_not_there():
    named = set(re.findall(r"`edgestep ([a-z]+)`", README))
    assert named == set(COMMANDS)


def test_every_family_and_its_steps_stand_in_the_readme():
    rows = re.findall(r"^\| (`[^|]*`) \| ([\d, ]+) \|", README, re.MULTILINE)
    told = {name: {int(n) for n in steps.split(",")} for names, steps in rows for name in re.findall(r"`(.+?)`", names)}
    assert told == {name: set(row.timesteps) for name, row in {**FAMILIES, PLAIN.name: PLAIN}.items()}


def test_distillations_page_names_every_command_and_its_lines_parse():
    page = (ROOT / "docs" / "distillation.md").read_text().replace("\\\n", " ")
    assert set(re.findall(r"^\| `edgestep distill ([a-z]+)`", page, re.MULTILINE)) == set(DISTILL.commands)
    lines = re.findall(r"^    edgestep distill (.*)$", page, re.MULTILINE)
    assert lines
    for line in lines:
        words = shlex.split(line)
        DISTILL.commands[words[0]].make_context(words[0], words[1:])


@pytest.mark.parametrize("line", SHOWN)
def test_every_command_line_of_the_readme_parses(line: str):
    words = shlex.split(line)[1:]
    command = typer.main.get_command(app).commands[words[0]]  # type: ignore[attr-defined]
    command.make_context(words[0], words[1:])


@pytest.mark.parametrize("command", COMMANDS)
def test_help_says_what_a_command_does(command: str):
    done = subprocess.run(
        [sys.executable, "-m", "edgestep.cli", command, "--help"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "Usage: " in done.stdout


def test_readmes_make_targets_are_there():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"^\s*make ([a-z-]+)$", README, re.MULTILINE)) <= targets


def test_ci_runs_the_readmes_test_command():
    lines = (ROOT / ".ci" / "run").read_text().splitlines()
    assert [line for line in lines if line and not line.startswith(("#", "set ", "cd "))] == ["make test"]
