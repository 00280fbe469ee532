"""The pytest plugin `edgestep`: fixtures, markers, `assert_parity`, and a report of every parity in the session.

pytest loads it in every suite where edgestep is installed, so nothing here imports numpy or a runtime until a test
compares something.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from edgestep.artifact import BadInput
from edgestep.pytest_plugin.assertion import assert_parity
from edgestep.pytest_plugin.folders import artifacts_for, checked_folder, parametrized, reference_for
from edgestep.pytest_plugin.recorder import start_recording, stop_recording
from edgestep.pytest_plugin.reporting import SessionReport, report_folder
from edgestep.pytest_plugin.target_marker import why_skipped

__all__ = ["assert_parity"]

SESSION_REPORT = "edgestep-session-report"
MARKERS = (
    "edgestep(artifact=..., reference=...): folders for the fixtures edgestep_artifact (one, or a list) and "
    "edgestep_reference; relative ones start at rootdir",
    "edgestep_target(name): skip where the runtime of this edgestep target is not installed",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add --edgestep-artifact, --edgestep-reference and --edgestep-report, and the ini values of the first two."""
    group = parser.getgroup("edgestep", "edgestep: parity of image generators with PyTorch")
    group.addoption(
        "--edgestep-artifact",
        action="append",
        default=[],
        metavar="DIR",
        help="Artifact folder for edgestep_artifact; give it again to run its tests once for each.",
    )
    group.addoption("--edgestep-reference", metavar="DIR", help="Reference bundle for edgestep_reference.")
    group.addoption(
        "--edgestep-report",
        metavar="DIR",
        help="Write report.json, report.html and pictures of every parity that was asserted into this folder.",
    )
    parser.addini("edgestep_artifact", "Artifact folders for edgestep_artifact, one a line.", "linelist", [])
    parser.addini("edgestep_reference", "Reference bundle for edgestep_reference.", "string", "")


def pytest_configure(config: pytest.Config) -> None:
    """Register the markers and start recording; a report folder that cannot be used stops pytest at once."""
    for line in MARKERS:
        config.addinivalue_line("markers", line)
    report = config.getoption("--edgestep-report")
    recorder = start_recording(config.rootpath, report_folder(report, config), lambda: _cache(config))
    config.pluginmanager.register(SessionReport(config, recorder), SESSION_REPORT)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Stop recording."""
    if config.pluginmanager.has_plugin(SESSION_REPORT):
        config.pluginmanager.unregister(name=SESSION_REPORT)
        stop_recording()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that takes edgestep_artifact once for each artifact that is named."""
    name = "edgestep_artifact"
    if name not in metafunc.fixturenames or parametrized(metafunc.definition, name):
        return
    try:
        folders = artifacts_for(metafunc.definition, metafunc.config)
    except BadInput as error:
        raise pytest.Collector.CollectError(f"{metafunc.definition.nodeid}: {error}") from error
    if folders:
        metafunc.parametrize(name, folders, indirect=True, ids=[folder.name for folder in folders])


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip tests of a target whose runtime is not here."""
    for item in items:
        with suppress(BadInput):  # the test itself says it, when it is set up
            if reason := why_skipped(item):
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """End a test of a target that is not there with one line."""
    with in_one_line():
        why_skipped(item)


@pytest.fixture
def edgestep_artifact(request: pytest.FixtureRequest) -> Path:
    """Give the artifact's folder, from the marker, --edgestep-artifact or the ini value; one test for each."""
    with in_one_line():
        return checked_folder("artifact", getattr(request, "param", None), request.config.rootpath)


@pytest.fixture
def edgestep_reference(request: pytest.FixtureRequest) -> Path:
    """Give the reference bundle's folder, from the marker, --edgestep-reference or the ini value."""
    with in_one_line():
        return checked_folder("reference", reference_for(request.node, request.config), request.config.rootpath)


@contextmanager
def in_one_line() -> Iterator[None]:
    """End the test with the one line of a BadInput, and no traceback."""
    try:
        yield
    except BadInput as error:
        raise pytest.fail.Exception(str(error), pytrace=False) from None


def _cache(config: pytest.Config) -> Path | None:
    """Return where pictures of failures go without a report: in pytest's cache, None where there is none."""
    cache = getattr(config, "cache", None)
    try:
        return None if cache is None else cache.mkdir("edgestep")
    except OSError:
        return None
