"""Parity in a process of its own: whatever becomes of it is one line of a failed result, and nothing is left behind."""

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgestep.artifact import read_artifact
from edgestep.export.source.source import Source
from edgestep.harness.parity import drawn_apart
from edgestep.harness.parity.check import draw_and_check
from edgestep.harness.reporting.markdown import markdown_from_results
from edgestep.ship import run
from edgestep.ship.plan import Job
from edgestep.ship.run import ShipRequest
from edgestep.ship.stages import Stages
from edgestep.targets import TARGETS
from tests.harness.made_up import made_artifact, made_results


@pytest.fixture(autouse=True)
def _fakes_are_found(monkeypatch: pytest.MonkeyPatch, bundle_folder: Path) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent.parent.parent))
    monkeypatch.setenv("EDGESTEP_TEST_BUNDLE", str(bundle_folder))


@pytest.fixture
def checked(monkeypatch, split_folder, reference):
    def check(name: str, timeout_s: float = 60.0):
        monkeypatch.setattr(drawn_apart, "RUNNER", f"tests.harness.fake_drawers:{name}")
        return draw_and_check(split_folder, reference, threads=1, timeout_s=timeout_s)

    return check


def test_what_was_drawn_arrives_unchanged_and_prints_do_not(checked, reference):
    one = checked("Faithful")
    assert (one.result.verdict, one.result.failure, one.result.cases) == ("passed", "", len(reference.cases))
    for case, picture in zip(reference.cases, one.pictures, strict=True):
        assert np.array_equal(case.picture[0], picture)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("FailsInLoad", ("did not load it", "RuntimeError: no such device")),
        ("FailsLater", ("did not draw case-02", "ValueError: bad kernel")),
        ("Segfaults", ("did not draw case-02", "killed by SIGSEGV")),
        ("Killed", ("did not draw case-02", "killed by SIGKILL, as a system out of memory does")),
        ("OutOfMemory", ("did not draw case-02", "MemoryError")),
        ("Exits", ("did not draw case-02", "ended with status 7", "the driver gave up")),
    ],
)
def test_a_crash_is_a_failure_that_names_the_case(checked, name, words):
    one = checked(name)
    assert (one.result.verdict, one.result.gates, one.pictures) == ("failed", (), ())
    assert one.result.reason == one.result.failure and "\n" not in one.result.reason
    for word in words:
        assert word in one.result.reason


def test_a_hang_ends_at_the_time_limit_and_its_process_with_it(checked):
    one = checked("Hangs", timeout_s=8.0)
    assert one.result.verdict == "failed"
    assert "did not draw case-02" in one.result.reason and "no answer in 8 s" in one.result.reason
    assert not _children_of_this_process()


def _children_of_this_process() -> list[str]:
    if not Path("/proc").is_dir():
        return []
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = stat.read_text()
            if text.rpartition(")")[2].split()[1] == str(os.getpid()):
                command = stat.with_name("cmdline").read_bytes().decode(errors="replace")
                found += [command] if drawn_apart.WORKER in command else []
        except OSError:
            continue
    return found


def test_wrong_shapes_and_types_are_told_by_their_gate(checked):
    result = checked("WrongShapes").result
    shapes = next(gate for gate in result.gates if gate.measure == "shapes")
    assert (result.verdict, shapes.passed, shapes.worst) == ("failed", False, 8.0)
    assert "float64" in shapes.reason and "picture uint8 [1, 15, 16, 3]" in shapes.reason
    assert [failure.case for failure in shapes.failures] == [f"case-{i:02d}" for i in range(8)]


def test_an_artifact_that_draws_nothing_fails(checked):
    assert checked("DrawsNothing").result.verdict == "failed"


def test_a_runner_of_another_package_is_not_there(checked):
    assert "did not load it" in checked("Nobody").result.reason


def test_the_command_ends_with_1_and_one_line_where_the_runtime_dies(split_folder, bundle_folder):
    code = (
        "import sys; from edgestep.harness.parity import drawn_apart\n"
        "drawn_apart.RUNNER = 'tests.harness.fake_drawers:Segfaults'\n"
        f"sys.argv = ['edgestep', 'parity', {str(split_folder)!r}, '--reference', {str(bundle_folder)!r}]\n"
        "from edgestep.cli import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "Traceback" not in done.stdout + done.stderr
    assert done.stdout.startswith("failed: onnxruntime did not draw case-02:") and "SIGSEGV" in done.stdout


def test_ship_reports_the_crash_goes_on_and_tries_again_next_time(
    monkeypatch, split_folder, fused_folder, reference, tmp_path
):
    out, told = tmp_path / "shipped", []
    stages = Stages(out, told.append)
    jobs = {}
    for name, folder in (("split", split_folder), ("fused", fused_folder)):
        jobs[name] = Job(name, TARGETS["x86"], "fp32", name)
        shutil.copytree(folder, jobs[name].folder(out))
    request = ShipRequest(Source(split_folder), "tiny", ("x86",), out)

    def checked(name: str, runner: str):
        monkeypatch.setattr(drawn_apart, "RUNNER", runner)
        artifact = read_artifact(jobs[name].folder(out))
        return run._parity(request, jobs[name], artifact, reference, stages, told.append)

    good = drawn_apart.RUNNER
    crashed = checked("split", "tests.harness.fake_drawers:Segfaults")
    other = checked("fused", good)
    assert (crashed.verdict, other.verdict) == ("failed", "passed")
    rows = [replace(made_artifact("x86", "fp32", name), parity=p) for name, p in (("split", crashed), ("fused", other))]
    text = markdown_from_results(replace(made_results(), artifacts=tuple(rows)))
    assert "1 passed its parity gates, 1 failed" in text and "SIGSEGV" in text
    assert checked("split", good).verdict == "passed"  # a crash is not kept
    told.clear()
    checked("split", "tests.harness.fake_drawers:Segfaults")
    assert any("kept from the last run" in line for line in told)
