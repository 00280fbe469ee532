"""What a command says while it works: one line a step, with the time since it began. On stderr, plain off a terminal."""

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
