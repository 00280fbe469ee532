"""numpy's products on one thread: what several add up depends on how many they are, and a file's bytes on that."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from edgestep.artifact import BadInput


@contextmanager
def one_thread() -> Iterator[None]:
    """Let BLAS and LAPACK use one thread within the block; raise BadInput where threadpoolctl is missing."""
    with _controller().limit(limits=1, user_api="blas"):
        yield


@cache
def _controller() -> Any:
    try:
        from threadpoolctl import ThreadpoolController
    except ImportError as error:
        raise BadInput(f"got no {error.name}; correcting weights needs it; pip install 'edgestep[export]'") from error
    return ThreadpoolController()
