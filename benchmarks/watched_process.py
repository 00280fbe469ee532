"""A command -> what it took: bytes resident and anonymous at the peak, seconds, bytes written.

Resident is VmHWM, what the kernel says was in memory at the most, of the process and its children together: mapped
files count. Anonymous is RssAnon of all of them at one moment, sampled: what cannot be read from a file again.
"""

import re
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

POLL_S = 0.02
GIB = 2**30


@dataclass(frozen=True)
class Taken:
    """Bytes resident and anonymous at the peak, seconds of wall clock, bytes in the folder that was written."""

    peak: int
    anonymous: int
    seconds: float
    written: int


def watched(command: Sequence[str], out: Path) -> Taken:
    """Run a command that writes to `out` and watch it; SystemExit with its last words where it fails."""
    peaks: dict[int, int] = {}
    anonymous = 0
    with tempfile.TemporaryFile("w+") as log:
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        while process.poll() is None:
            tree = _tree(process.pid)
            for pid in tree:
                peaks[pid] = max(peaks.get(pid, 0), _bytes(pid, "VmHWM"))
            anonymous = max(anonymous, sum(_bytes(pid, "RssAnon") for pid in tree))
            time.sleep(POLL_S)
        seconds = time.perf_counter() - start
        if process.returncode:
            log.seek(0)
            raise SystemExit(f"got exit status {process.returncode} of {' '.join(command)}: {log.read()[-2000:]}")
    written = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    return Taken(sum(peaks.values()), anonymous, seconds, written)


def _tree(pid: int) -> list[int]:
    """Return the process and all its descendants."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return [pid]
    return [pid, *(one for child in children for one in _tree(int(child)))]


def _bytes(pid: int, key: str) -> int:
    """Return one line of the process's status in bytes, 0 where it has ended."""
    try:
        found = re.search(rf"{key}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    except OSError:
        return 0
    return int(found[1]) * 1024 if found else 0
