"""assert_parity as a suite sees it: what passes, and how what does not is shown."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgestep.artifact import MANIFEST, BadInput
from edgestep.harness.parity.check import check_parity
from edgestep.harness.reference.bundle import read_reference
from edgestep.pytest_plugin import assert_parity
from tests.pytest_plugin.conftest import edited

TABLE = re.compile(r"^E\s+(.+?)  +(\S+(?: dB| cases?)?)  +(\S.*?)  +(case-\S+)  +(yes|NO|reported)$", re.MULTILINE)


def _run(suite: pytest.Pytester, artifact: Path, reference: Path, *more: str) -> pytest.RunResult:
    return suite.runpytest(f"--edgestep-artifact={artifact}", f"--edgestep-reference={reference}", *more)


def test_good_artifacts_pass_and_each_is_a_test_of_its_own(suite, split_folder, fused_folder, bundle_folder):
    done = _run(suite, split_folder, bundle_folder, f"--edgestep-artifact={fused_folder}", "-v")
    done.assert_outcomes(passed=2)
    done.stdout.fnmatch_lines(["*test_parity?split? PASSED*", "*test_parity?fused? PASSED*"])


def test_what_passes_is_returned(split_folder, bundle_folder):
    result = assert_parity(split_folder, read_reference(bundle_folder), threads=1)
    assert (result.verdict, result.cases, result.runtime) == ("passed", 8, "onnxruntime")
    assert result == assert_parity(str(split_folder), str(bundle_folder), threads=1, runtime="onnxruntime")


def test_a_damaged_artifact_fails_with_every_gate_and_a_strip(suite, damaged_folder, bundle_folder):
    done = _run(suite, damaged_folder, bundle_folder)
    done.assert_outcomes(failed=1)
    text = done.stdout.str()
    known = {gate.measure: gate.passed for gate in check_parity(damaged_folder, read_reference(bundle_folder)).gates}
    words = {m[1].replace(" ", "_").lower(): m[5] for m in TABLE.finditer(text)}
    assert words["image_psnr"] == "NO" and known["image_psnr_db"] is False
    assert words["x0_sqnr"] == "yes" and known["x0_sqnr_db"] is True
    lines = text.partition("measure  ")[2].partition("pictures: ")[0].splitlines()[1:-1]
    assert len(lines) == len(known) and all(re.search(r"  (yes|NO|reported)(  |$)", line) for line in lines)
    assert "drawn_apart.py" not in text and "comparison.py" not in text
    path = Path(re.findall(r"^E +pictures: (.+\.png)$", text, re.MULTILINE)[0])
    assert path.is_relative_to(suite.path / ".pytest_cache")
    _holds_the_worst_case(path, text, bundle_folder)


def _holds_the_worst_case(strip: Path, text: str, bundle: Path) -> None:
    """The first row's left picture is the reference's, enlarged, of the case that the table calls the worst."""
    worst = next(m[4] for m in TABLE.finditer(text) if m[1] == "image PSNR")
    wanted = next(case.picture[0] for case in read_reference(bundle).cases if case.name == worst)
    enlarged = np.kron(wanted, np.ones((12, 12, 1), np.uint8))
    with Image.open(strip) as image:
        image.verify()
    pixels = np.asarray(Image.open(strip))
    assert np.array_equal(pixels[68 : 68 + 192, 8 : 8 + 192], enlarged)
    assert not np.array_equal(pixels[68 : 68 + 192, 208 : 208 + 192], enlarged)


def test_undecided_is_no_pass(suite, split_folder, two_cases_folder):
    done = _run(suite, split_folder, two_cases_folder)
    done.assert_outcomes(failed=1)
    done.stdout.fnmatch_lines(
        ["*AssertionError: parity undecided: prompt sensitivity*", "*prompt sensitivity*undecided*"]
    )


def test_unchecked_is_a_pass_only_where_it_is_allowed(split_folder, bundle_folder, tmp_path):
    folder = edited(split_folder, tmp_path / "tiny", contract__decoder="tiny")
    with pytest.raises(AssertionError, match=r"(?s)parity not checked: approximation.*allow_unchecked"):
        assert_parity(folder, bundle_folder, strip=tmp_path / "strip.png")
    assert assert_parity(folder, bundle_folder, allow_unchecked=True).verdict == "unchecked"


def test_a_gate_by_hand_is_shown_as_one(damaged_folder, bundle_folder, tmp_path):
    with pytest.raises(AssertionError, match="≥ 1 by hand, scheme's ≥ 60"):
        assert_parity(damaged_folder, bundle_folder, overrides=["image PSNR>=1"], strip=tmp_path / "strip.png")
    with Image.open(tmp_path / "strip.png") as strip:
        assert strip.format == "PNG"


def test_an_artifact_with_other_bytes_than_its_manifest_is_one_line(suite, split_folder, bundle_folder, tmp_path):
    folder = edited(split_folder, tmp_path / "changed")
    model = next(folder.glob("unet/*.onnx"))
    model.write_bytes(model.read_bytes()[:-1] + b"\0")
    done = _run(suite, folder, bundle_folder)
    done.assert_outcomes(failed=1)
    told = re.findall(r"^E .*", done.stdout.str(), re.MULTILINE)
    assert len(told) == 1 and "BadInput: got other bytes at" in told[0]
    with pytest.raises(BadInput, match="other bytes"):
        assert_parity(folder, bundle_folder)


def test_relative_folders_start_at_rootdir(pytester, split_folder, bundle_folder):
    (pytester.path / "made").mkdir()
    (pytester.path / "made" / "artifact").symlink_to(split_folder)
    (pytester.path / "made" / "reference").symlink_to(bundle_folder)
    below = pytester.mkdir("below")
    (below / "test_it.py").write_text(
        "from edgestep.pytest_plugin import assert_parity\n"
        "def test_it(monkeypatch):\n"
        "    monkeypatch.chdir('below')\n"
        "    assert assert_parity('made/artifact', 'made/reference', threads=1).verdict == 'passed'\n"
    )
    assert (split_folder / MANIFEST).is_file()
    pytester.runpytest("below", "--rootdir=.").assert_outcomes(passed=1)
