"""coremltools' own tests of every operation, a sample of each, with the evaluator in the place of Core ML."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
LEAST = {"iOS14": 120, "iOS15": 10, "iOS16": 30, "iOS17": 80, "iOS18": 40}
"""coremltools' folder of tests -> how many programs a sample evaluates at least."""


@pytest.mark.slow
@pytest.mark.parametrize("system", LEAST)
def test_what_apple_expects_of_a_mac_is_what_the_evaluator_gives(system: str, tmp_path: Path):
    command = [sys.executable, "-m", "pytest", "-q", "--tb=short", "--show-capture=no", "-p", "no:cacheprovider"]
    command += ["-p", "tests.runtimes.mil.own_tests", "-o", "addopts=", f"--rootdir={tmp_path}"]
    command += ["--pyargs", f"coremltools.converters.mil.mil.ops.tests.{system}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:]
    evaluated = re.search(r"^(\d+) programs evaluated", done.stdout, re.MULTILINE)
    assert evaluated and int(evaluated[1]) >= LEAST[system]
