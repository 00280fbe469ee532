"""Marker, command line, ini value -> the folders that a test compares; the first of these that names one decides."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from edgestep.artifact import MANIFEST, BadInput

INDEX_OF = {"artifact": MANIFEST, "reference": "reference.json"}
"""What it is -> the file that its folder must have."""
MADE_BY = {
    "artifact": "make one with 'edgestep export' or 'edgestep ship'",
    "reference": "record one with 'edgestep reference'",
}
MARKER = "edgestep"


def artifacts_for(node: Any, config: pytest.Config) -> list[Path]:
    """Return the artifact folders that a test is to run with, not checked yet; none where none is named."""
    marked = _marked(node, "artifact")
    named = _listed(marked) or config.getoption("--edgestep-artifact") or config.getini("edgestep_artifact")
    return [Path(config.rootpath, name) for name in named]


def reference_for(node: Any, config: pytest.Config) -> Path | None:
    """Return the reference folder of a test, not checked yet; None where none is named."""
    named = _marked(node, "reference") or config.getoption("--edgestep-reference")
    named = named or config.getini("edgestep_reference")
    if named and not isinstance(named, str | Path):
        raise BadInput(f"got reference={named!r} in the marker; expected one folder; name one")
    return Path(config.rootpath, named) if named else None


def checked_folder(what: str, folder: Path | str | None, root: Path) -> Path:
    """Return the folder of an artifact or a reference, a relative one from `root`; BadInput where it is none."""
    if folder is None:
        raise BadInput(
            f"got no {what}; expected one from @pytest.mark.{MARKER}({what}=...), --edgestep-{what} DIR or the ini "
            f"value edgestep_{what}; {MADE_BY[what]}"
        )
    path = Path(root, folder)
    if not path.is_dir():
        raise BadInput(f"got {path}, which is no folder; expected an edgestep {what}; {MADE_BY[what]}")
    if not (path / INDEX_OF[what]).is_file():
        raise BadInput(f"got {path} without {INDEX_OF[what]}; expected an edgestep {what}; {MADE_BY[what]}")
    return path


def parametrized(node: Any, name: str) -> bool:
    """Tell whether the test's own @pytest.mark.parametrize gives the argument `name`."""
    for mark in node.iter_markers("parametrize"):
        names = mark.args[0] if mark.args else mark.kwargs.get("argnames", ())
        if name in (names.replace(",", " ").split() if isinstance(names, str) else names):
            return True
    return False


def _marked(node: Any, what: str) -> Any:
    """Return what the closest marker that says so names, None where none does."""
    for mark in node.iter_markers(MARKER):
        unknown = sorted(mark.kwargs.keys() - INDEX_OF.keys())
        if mark.args or unknown:
            got = ", ".join([*(repr(a) for a in mark.args), *(f"{name}=" for name in unknown)])
            raise BadInput(f"got {got} in @pytest.mark.{MARKER}; expected artifact= and reference= only; rename it")
        if what in mark.kwargs:
            return mark.kwargs[what]
    return None


def _listed(named: Any) -> Sequence[str | Path]:
    if named is None:
        return []
    names = [named] if isinstance(named, str | Path) else named
    if not isinstance(names, list | tuple) or not all(isinstance(name, str | Path) for name in names):
        raise BadInput(f"got artifact={named!r} in the marker; expected a folder or a list of them; name some")
    return names
