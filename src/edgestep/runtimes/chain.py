"""Several files that are one component -> one Session that runs them in order, each fed what those before it gave."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Self

import numpy as np

from edgestep.artifact import TensorSpec
from edgestep.runtimes.session import Session


class Chain:
    """Sessions in the order in which they run; it closes them.

    `inputs` are those that no session before gives, each name once; `outputs` are the last one's.
    """

    def __init__(self, sessions: Sequence[Session]) -> None:
        self._sessions = tuple(sessions)
        self._open = ExitStack()
        for session in sessions:
            self._open.enter_context(session)
        asked: dict[str, TensorSpec] = {}
        given: set[str] = set()
        for session in sessions:
            asked |= {spec.name: spec for spec in session.inputs if spec.name not in given | set(asked)}
            given |= {spec.name for spec in session.outputs}
        self.inputs = tuple(asked.values())
        self.outputs = tuple(self._sessions[-1].outputs)

    @property
    def overflow(self) -> object:
        """Return where float16 overflowed first in the last run, None where it did not or nobody tells."""
        told = (getattr(session, "overflow", None) for session in self._sessions)
        return next((overflow for overflow in told if overflow is not None), None)

    def run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run all of them once; return the last one's outputs by name."""
        known, outputs = dict(feeds), {}
        for session in self._sessions:
            outputs = session.run({spec.name: known[spec.name] for spec in session.inputs})
            known |= outputs
        return outputs

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()
