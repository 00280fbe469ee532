"""What the tests of a session compared -> report.json and report.html, at its end, however the tests went.

Each comparison travels on its test's report, which pytest-xdist carries from its workers to the main process; that one
alone writes.
"""

import shlex
from pathlib import Path
from typing import Any

import pytest

from edgestep.artifact import BadInput
from edgestep.pytest_plugin.recorder import Recorder

KEY = "edgestep_seen"


def report_folder(named: str | None, config: pytest.Config) -> Path | None:
    """Return the folder of --edgestep-report, a relative one from rootdir; stop pytest where it cannot be one."""
    if not named:
        return None
    folder = Path(config.rootpath, named)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise pytest.UsageError(
            f"got --edgestep-report={named}, which cannot be made ({error.strerror}); expected a folder; choose another"
        ) from error
    return folder


class SessionReport:
    """The hooks of one session."""

    def __init__(self, config: pytest.Config, recorder: Recorder) -> None:
        self._config, self._recorder = config, recorder
        self._seen: list[dict[str, Any]] = []
        self._said: list[str] = []

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self):
        """Put what the phase compared on its report."""
        report = yield
        taken = self._recorder.take()
        if taken:
            setattr(report, KEY, taken)
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Collect it in the main process."""
        self._seen += getattr(report, KEY, [])

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Write the report; a report that was asked for and cannot be written is no success."""
        folder = self._recorder.report
        if folder is None or hasattr(self._config, "workerinput") or self._config.getoption("collectonly"):
            return
        from edgestep.pytest_plugin.session_results import write_session

        command = shlex.join(["pytest", *map(str, self._config.invocation_params.args)])
        try:
            self._said = write_session(self._seen, folder, command)
        except BadInput as error:
            self._said = [f"no whole report: {error}"]
            if session.exitstatus == pytest.ExitCode.OK:
                session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Say where the report is."""
        for line in self._said:
            terminalreporter.write_line(f"edgestep: {line}")
