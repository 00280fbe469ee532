"""Which folders a test gets: marker before command line before ini value, and one line where there is none."""

import pytest

from edgestep.artifact import MANIFEST

SHOWN = """
import pytest
{mark}
def test_shown(edgestep_artifact, edgestep_reference):
    print("GOT", edgestep_artifact.name, edgestep_reference.name)
"""


@pytest.fixture
def folders(pytester: pytest.Pytester) -> pytest.Pytester:
    """Empty artifacts a, b, c and references r, s: what the fixtures look at, and no more."""
    for name in "abc":
        (pytester.mkdir(name) / MANIFEST).touch()
    for name in "rs":
        (pytester.mkdir(name) / "reference.json").touch()
    return pytester


def _shown(pytester: pytest.Pytester, mark: str, *options: str) -> set[str]:
    pytester.makepyfile(test_shown=SHOWN.format(mark=mark))
    done = pytester.runpytest("-s", "--rootdir=.", *options)
    assert done.ret == 0, done.stdout.str()
    return {line.partition("GOT ")[2].rstrip(".") for line in done.outlines if "GOT" in line}


INI = "[pytest]\nedgestep_artifact =\n    a\n    b\nedgestep_reference = s\n"


@pytest.mark.parametrize(
    ("mark", "options", "expected"),
    [
        ("", (), {"a s", "b s"}),
        ("", ("--edgestep-artifact=c",), {"c s"}),
        ("", ("--edgestep-artifact=c", "--edgestep-artifact=a", "--edgestep-reference=r"), {"c r", "a r"}),
        ("@pytest.mark.edgestep(artifact='b', reference='r')", ("--edgestep-artifact=c",), {"b r"}),
        ("@pytest.mark.edgestep(artifact=['b', 'c'])", ("--edgestep-reference=r",), {"b r", "c r"}),
        ("@pytest.mark.parametrize('edgestep_artifact', ['c'], indirect=True)", (), {"c s"}),
    ],
)
def test_the_closest_that_names_a_folder_decides(folders, mark, options, expected):
    folders.makeini(INI)
    assert _shown(folders, mark, *options) == expected


@pytest.mark.parametrize(
    ("mark", "options", "line"),
    [
        ("", ("--edgestep-reference=r",), "got no artifact; expected one from @pytest.mark.edgestep(artifact=...)*"),
        ("", ("--edgestep-artifact=a",), "got no reference; expected one from*record one with 'edgestep reference'"),
        ("", ("--edgestep-artifact=x", "--edgestep-reference=r"), "got */x, which is no folder; expected*; make one *"),
        ("", ("--edgestep-artifact=r", "--edgestep-reference=r"), f"got */r without {MANIFEST}; expected*; make one *"),
        ("@pytest.mark.edgestep(reference=['r', 's'])", ("--edgestep-artifact=a",), "got reference=*; expected one *"),
        ("@pytest.mark.edgestep(artefact='a')", (), "*got artefact= in @pytest.mark.edgestep; expected artifact=*"),
        ("@pytest.mark.edgestep('a')", (), "*got 'a' in @pytest.mark.edgestep; expected artifact=*"),
        ("@pytest.mark.edgestep(artifact=7)", (), "*got artifact=7 in the marker; expected a folder*"),
    ],
)
def test_what_names_no_folder_is_one_line_and_an_error(folders, mark, options, line):
    folders.makepyfile(test_shown=SHOWN.format(mark=mark))
    done = folders.runpytest("--rootdir=.", *options)
    done.assert_outcomes(errors=1)
    done.stdout.fnmatch_lines([line])
    assert "Traceback" not in done.stdout.str() and "folders.py" not in done.stdout.str()
