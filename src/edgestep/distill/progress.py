"""Progress bars with a time estimate: a bar on a terminal, a plain line now and then elsewhere."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


def track(items: Iterable[T], what: str, total: int | None = None) -> Iterator[T]:
    """Yield `items`, telling how far it is and how long it will take."""
    from tqdm import tqdm

    quiet = not sys.stderr.isatty()
    yield from tqdm(items, desc=what, total=total, mininterval=10 if quiet else 0.2, ncols=90, file=sys.stderr)


class Clock:
    """True once every `seconds`: when to save, when to print."""

    def __init__(self, seconds: float):
        self.seconds = seconds
        self.last = time.monotonic()

    def due(self) -> bool:
        """Return whether the interval has passed since the last time that this returned True."""
        if time.monotonic() - self.last < self.seconds:
            return False
        self.last = time.monotonic()
        return True
