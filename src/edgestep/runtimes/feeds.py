"""Feeds and a graph's inputs -> whether they fit, and the line that says how they do not.

For runtimes that would cast another dtype silently, or keep the last value of an input that was left out.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from edgestep.artifact import TensorSpec


def feeds_fit(feeds: Mapping[str, np.ndarray], inputs: Sequence[TensorSpec]) -> bool:
    """Whether names, dtypes and shapes are those of `inputs`; a size of -1 takes any."""
    return set(feeds) == {spec.name for spec in inputs} and all(
        feeds[spec.name].dtype == spec.dtype and _same_shape(feeds[spec.name].shape, spec.shape) for spec in inputs
    )


def refused(feeds: Mapping[str, np.ndarray], inputs: Sequence[TensorSpec], why: str = "") -> str:
    """Return the line: what was got, what the graph expects, and `why` where a runtime told."""
    got = ", ".join(f"{name} {value.dtype} {list(value.shape)}" for name, value in feeds.items()) or "nothing"
    expected = ", ".join(f"{spec.name} {spec.dtype} {list(spec.shape)}" for spec in inputs)
    return f"got {got}; expected {expected}; feed these" + (f" ({why})" if why else "")


def _same_shape(shape: tuple[int, ...], expected: tuple[int, ...]) -> bool:
    return len(shape) == len(expected) and all(e in (-1, s) for s, e in zip(shape, expected, strict=True))
