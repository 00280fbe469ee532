"""Where `assert_parity` leaves what it saw: the session that runs, or none outside pytest.

Each comparison is kept as plain JSON values, so that it travels on a test's report from pytest-xdist's workers too.
"""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Recorder:
    """One session. `report` is the folder of --edgestep-report, None without it; `seen` is emptied test by test."""

    root: Path
    report: Path | None = None
    cache: Callable[[], Path | None] = lambda: None
    seen: list[dict[str, Any]] = field(default_factory=list)

    def take(self) -> list[dict[str, Any]]:
        """Return what was seen since the last call."""
        taken = list(self.seen)
        self.seen.clear()
        return taken

    def strips(self) -> Path:
        """Return the folder for pictures of failures: the report's, else pytest's cache, else the temporary one."""
        if self.report is not None:
            return self.report / "strips"
        return self.cache() or Path(tempfile.gettempdir()) / "edgestep-strips"


_RECORDERS: list[Recorder] = []
"""The innermost session last: pytester runs one inside another."""


def start_recording(root: Path, report: Path | None, cache: Callable[[], Path | None]) -> Recorder:
    """Make the recorder of a session the current one until `stop_recording`."""
    _RECORDERS.append(Recorder(root, report, cache))
    return _RECORDERS[-1]


def stop_recording() -> None:
    """End the current session's recorder."""
    _RECORDERS.pop()


def current_recorder() -> Recorder:
    """Return the running session's recorder; outside pytest one from which nothing is ever read."""
    return _RECORDERS[-1] if _RECORDERS else Recorder(Path.cwd())
