"""edgestep_target: a test of a target whose runtime is not here is skipped, and says so."""

import pytest

SUITE = """
import pytest

@pytest.mark.edgestep_target("x86")
def test_x86(): pass

@pytest.mark.edgestep_target("intel")
def test_intel(): pass

@pytest.mark.edgestep_target(name="mac")
def test_mac(edgestep_artifact): pass

@pytest.mark.edgestep_target("x86", "intel")
def test_both(): pass

def test_none(): pass
"""


def test_a_target_without_its_runtime_is_skipped_with_the_reason(pytester):
    pytester.makeconftest("import sys\nsys.modules['openvino'] = sys.modules['coremltools'] = None\n")  # not installed
    pytester.makepyfile(test_suite=SUITE)
    done = pytester.runpytest("-rs", "-m", "edgestep_target", "--strict-markers")
    done.assert_outcomes(passed=1, skipped=3, deselected=1)
    done.stdout.fnmatch_lines(
        [
            "SKIPPED*test_suite.py:*edgestep target intel: got no package openvino; pip install openvino",
            "SKIPPED*test_suite.py:*edgestep target mac: got no package coremltools; pip install coremltools",
        ],
        consecutive=False,
    )


@pytest.mark.parametrize("mark", ["('x87')", "()", "(target='x86')"])
def test_another_target_is_one_line_and_an_error(pytester, mark):
    pytester.makepyfile(f"import pytest\n@pytest.mark.edgestep_target{mark}\ndef test_it(): pass\n")
    done = pytester.runpytest()
    done.assert_outcomes(errors=1)
    done.stdout.fnmatch_lines(["got *; expected one*"])
    assert "target_marker.py" not in done.stdout.str()
