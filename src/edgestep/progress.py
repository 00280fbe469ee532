"""What a command says while it works, on stderr: one line a step, with the time since it began."""

import sys
import time
from collections.abc import Callable

Tell = Callable[[str], None]


def teller() -> Tell:
    """Return a function that prints a line with the seconds since this call."""
    start = time.monotonic()

    def tell(line: str) -> None:
        print(f"[{time.monotonic() - start:6.1f} s] {line}", file=sys.stderr, flush=True)

    return tell
