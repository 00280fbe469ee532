"""`@pytest.mark.edgestep_target("intel")` -> why the test cannot run here, "" where it can."""

import importlib.util

import pytest

from edgestep.artifact import BadInput
from edgestep.targets import target_named

MARKER = "edgestep_target"


def why_skipped(item: pytest.Item) -> str:
    """Return the reason to skip, "" for none; BadInput for a target that is not there or a marker without one."""
    for mark in item.iter_markers(MARKER):
        names = [*mark.args, *mark.kwargs.values()]
        if not names or not set(mark.kwargs) <= {"name"} or not all(isinstance(name, str) for name in names):
            raise BadInput(f"got @pytest.mark.{MARKER} without names of targets; expected one, as in ('x86'); name it")
        reasons = [reason for reason in map(_why_not_here, names) if reason]
        if reasons:
            return "; ".join(reasons)
    return ""


def _why_not_here(name: str) -> str:
    from edgestep.runtimes.registry import PACKAGES  # numpy comes with it: not at pytest's start

    target = target_named(name)
    if importlib.util.find_spec(PACKAGES[target.runtime]) is None:
        package = PACKAGES[target.runtime]
        return f"edgestep target {name}: got no package {package}; pip install {package}"
    return ""
