"""The plugin is loaded in suites that do not use it: it costs them nothing, and what the docs say of it is true."""

import re
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
README = (ROOT / "README.md").read_text()
HEAVY = ("numpy", "torch", "onnxruntime", "openvino", "safetensors", "PIL", "jinja2", "typer", "edgestep.harness")

CONFTEST = f"""
import sys

def pytest_sessionfinish(session):
    assert session.config.pluginmanager.has_plugin("edgestep")
    print("HEAVY", [name for name in {HEAVY!r} if name in sys.modules])
"""


def test_pytest_finds_it_by_its_entry_point():
    (found,) = entry_points(group="pytest11", name="edgestep")
    assert found.value == "edgestep.pytest_plugin"


def test_a_suite_that_does_not_use_it_imports_nothing_heavy_and_finds_no_trace(tmp_path):
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_plain.py").write_text("def test_plain(): pass\n")
    command = [sys.executable, "-W", "error", "-m", "pytest", "-s", "-q", "--strict-markers", "--strict-config"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "HEAVY []" in done.stdout and "1 passed" in done.stdout
    assert "edgestep" not in done.stdout.replace("HEAVY", "")
    assert not list(tmp_path.rglob("*edgestep*"))


def test_every_option_marker_and_ini_value_stands_in_the_readme(pytester):
    told = pytester.runpytest("--help").stdout.str() + pytester.runpytest("--markers").stdout.str()
    names = set(re.findall(r"--edgestep-[a-z]+|@pytest\.mark\.edgestep\w*|^ +(?:edgestep_\w+)", told, re.MULTILINE))
    assert {"--edgestep-report", "@pytest.mark.edgestep_target"} <= names
    assert not [name for name in names if name.strip() not in README]


def test_the_readmes_example_runs(pytester, split_folder, bundle_folder):
    block = next(b for b in re.findall(r"^```python\n(.*?)^```", README, re.M | re.S) if "assert_parity" in b)
    pytester.makepyfile(test_readme=block)
    options = (f"--edgestep-artifact={split_folder}", f"--edgestep-reference={bundle_folder}")
    pytester.runpytest(*options).assert_outcomes(passed=len(re.findall(r"^def test_", block, re.M)))


def test_the_example_for_ci_runs(pytester, split_folder, bundle_folder):
    example = ROOT / "examples" / "ci" / "test_parity_example.py"
    options = (f"--edgestep-artifact={split_folder}", f"--edgestep-reference={bundle_folder}")
    pytester.makepyfile(test_example=example.read_text())
    pytester.runpytest(*options).assert_outcomes(passed=2)
