"""--edgestep-report: what every test compared, in one report, however the tests went."""

import os
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgestep.harness.reference.bundle import read_reference
from edgestep.harness.results import Results, read_results
from tests.pytest_plugin.conftest import edited


def _options(reference: Path, *artifacts: Path) -> list[str]:
    return [f"--edgestep-reference={reference}", *(f"--edgestep-artifact={folder}" for folder in artifacts)]


def _whole(results: Results, folder: Path, verdicts: dict[str, str]) -> None:
    """`verdicts` by the name of the artifact's folder; every row has its pictures and leads to its folder."""
    assert {Path(a.folder).name: a.parity.verdict for a in results.artifacts if a.parity} == verdicts
    for artifact in results.artifacts:
        assert len(artifact.pictures) == len(results.cases)
        assert all((folder / picture).is_file() for picture in artifact.pictures)
        assert (folder / artifact.folder).is_dir() and not os.path.isabs(artifact.folder)


def test_it_holds_what_passed_and_what_failed(suite, fused_folder, damaged_folder, bundle_folder):
    options = _options(bundle_folder, fused_folder, damaged_folder)
    done = suite.runpytest("--edgestep-report=out", "--rootdir=.", *options)
    done.assert_outcomes(passed=1, failed=1)
    folder = suite.path / "out"
    done.stdout.fnmatch_lines([f"edgestep: 2 parities in {folder}/report.html and report.json"])
    results = read_results(folder / "report.json")
    _whole(results, folder, {"fused": "passed", "damaged": "failed"})
    reference = read_reference(bundle_folder)
    assert results.reference_machine == reference.index.machine and results.contract is None
    for case, shown in zip(reference.cases, results.cases, strict=True):
        assert (case.name, case.prompt) == (shown.case, shown.prompt)
        assert np.array_equal(np.asarray(Image.open(folder / shown.picture)), case.picture[0])
    html = (folder / "report.html").read_text()
    assert html.count("data:image/png;base64,") >= 8 * 3 and "What failed" in html
    strips = list((folder / "strips").iterdir())
    assert len(strips) == 1 and str(strips[0]) in done.stdout.str()


def test_two_references_stand_one_after_the_other(suite, split_folder, bundle_folder, two_cases_folder):
    suite.makepyfile(
        test_other=f"from edgestep.pytest_plugin import assert_parity\n"
        f"def test_other(edgestep_artifact):\n"
        f"    assert_parity(edgestep_artifact, {str(two_cases_folder)!r}, threads=1)\n"
    )
    done = suite.runpytest("--edgestep-report=out", "--rootdir=.", *_options(bundle_folder, split_folder))
    done.assert_outcomes(passed=1, failed=1)
    results = read_results(suite.path / "out" / "report.json")
    assert len(results.cases) == 8 + 2 and results.reference_machine is None and results.contract is not None
    first, second = results.artifacts
    assert second.name == f"{first.name}-2"
    for artifact in results.artifacts:
        for case, picture in zip(results.cases, artifact.pictures, strict=False):
            if picture:  # of the same prompt and noise as the case in its place: PyTorch's to a level
                shown = (np.asarray(Image.open(suite.path / "out" / p)).astype(int) for p in (case.picture, picture))
                assert np.abs(next(shown) - next(shown)).max() <= 1
    assert sorted(sum(map(bool, a.pictures)) for a in results.artifacts) == [2, 8]


def test_an_artifact_that_could_not_be_used_is_in_it_as_failed(suite, split_folder, bundle_folder, tmp_path):
    folder = edited(split_folder, tmp_path / "other", checkpoint_sha256="0" * 64)
    suite.runpytest("--edgestep-report=out", "--rootdir=.", *_options(bundle_folder, folder)).assert_outcomes(failed=1)
    (artifact,) = read_results(suite.path / "out" / "report.json").artifacts
    assert artifact.parity and artifact.parity.verdict == "failed" and "made from checkpoint" in artifact.parity.reason


def test_it_gathers_what_the_workers_of_xdist_compared(suite, split_folder, damaged_folder, bundle_folder):
    options = _options(bundle_folder, split_folder, damaged_folder)
    done = suite.runpytest_subprocess("-n2", "--edgestep-report=out", "--rootdir=.", *options)
    done.assert_outcomes(passed=1, failed=1)
    assert len(re.findall("2 parities in", done.stdout.str())) == 1
    results = read_results(suite.path / "out" / "report.json")
    _whole(results, suite.path / "out", {"split": "passed", "damaged": "failed"})


def test_without_a_parity_it_says_so(pytester):
    pytester.makepyfile("def test_nothing(): pass")
    done = pytester.runpytest("--edgestep-report=out", "--rootdir=.")
    done.assert_outcomes(passed=1)
    done.stdout.fnmatch_lines(["edgestep: 0 parities in *; no test compared anything*"])
    assert read_results(pytester.path / "out" / "report.json").artifacts == ()


def test_a_report_that_cannot_be_written_is_no_success(pytester):
    pytester.makepyfile("def test_nothing(): pass")
    pytester.makefile("", taken="")
    done = pytester.runpytest("--edgestep-report=taken", "--rootdir=.")
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    done.stderr.fnmatch_lines(["ERROR: got --edgestep-report=taken, which cannot be made*choose another"])
    (pytester.mkdir("out") / "report.json").mkdir()
    done = pytester.runpytest("--edgestep-report=out", "--rootdir=.")
    assert done.ret == pytest.ExitCode.TESTS_FAILED
    done.stdout.fnmatch_lines(["edgestep: no whole report: got */report.json, which cannot be written*"])
