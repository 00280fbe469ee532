"""Peak memory of this process: anonymous (weights that were unpacked, buffers) by sampling, resident from the kernel.

Anonymous memory is what a phone cannot give back; resident memory also counts mapped files, which it can.
"""

import sys
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

STATUS = Path("/proc/self/status")
PERIOD_S = 0.002


class PeakMemory:
    """A context manager that samples while it is open; `anonymous` is the peak in bytes, None where unknown.

    The sampling thread takes the interpreter's lock now and then, so nothing is timed finely while it runs.
    """

    def __init__(self) -> None:
        self.anonymous: int | None = anonymous_bytes()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> Self:
        if self.anonymous is not None:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        if self._thread.is_alive():
            self._thread.join()

    def _sample(self) -> None:
        while True:
            self.anonymous = max(self.anonymous or 0, anonymous_bytes() or 0)
            if self._done.wait(PERIOD_S):
                self.anonymous = max(self.anonymous, anonymous_bytes() or 0)
                return


def anonymous_bytes() -> int | None:
    """Return RssAnon of Linux in bytes, None elsewhere."""
    return _status_bytes("RssAnon:")


def peak_resident_bytes() -> tuple[int | None, str]:
    """Return the process's peak resident bytes and where they come from; (None, why) where nothing tells."""
    peak = _status_bytes("VmHWM:")
    if peak is not None:
        return peak, "RssAnon sampled and VmHWM, /proc/self/status"
    try:
        import resource
    except ImportError:
        return None, "not measured on this system"
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit, "ru_maxrss of getrusage; anonymous not measured"


def _status_bytes(key: str) -> int | None:
    try:
        lines = STATUS.read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(key)), None)
