"""The one protocol of the runtimes: a loaded graph that takes and returns named numpy arrays."""

from collections.abc import Mapping
from types import TracebackType
from typing import Protocol, Self

import numpy as np

from edgestep.artifact import TensorSpec


class Session(Protocol):
    """A loaded graph. `run` checks nothing that the runtime checks itself; feeds and outputs are by name."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    def run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run once; return every output by name."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
