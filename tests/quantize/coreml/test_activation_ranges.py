"""Ranges of what flows between layers: over all samples, and the steps and the zero that follow."""

from collections.abc import Sequence

import numpy as np
import pytest

from edgestep.artifact import BadInput
from edgestep.quantize.coreml.activation_ranges import Range, ranges_from_feeds
from edgestep.quantize.coreml.w8a8 import scale_and_zero


class Given:
    """An evaluator whose inner values are its feeds."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []

    def run(self, feeds):
        return feeds

    def values(self, feeds, names: Sequence[str]):
        self.asked.append(list(names))
        return {name: feeds[name] for name in names}

    def replace(self, name, values) -> None:
        raise AssertionError


def test_ranges_are_over_all_samples_and_hold_zero():
    feeds = [{"a": np.array([1.0, 2.0])}, {"a": np.array([3.0, 5.0])}, {"a": np.array([4.0, 4.5])}]
    assert ranges_from_feeds(Given(), {"a": (2,)}, feeds) == {"a": Range(0.0, 5.0)}
    assert ranges_from_feeds(Given(), {"a": (2,)}, [{"a": -feed["a"]} for feed in feeds]) == {"a": Range(-5.0, 0.0)}


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("shift", [-2.0, 0.0, 3.0])
def test_what_lies_in_the_range_is_off_by_half_a_step_and_zero_by_nothing(dtype: type, shift: float):
    values = np.random.default_rng(0).standard_normal(1000).astype(np.float32) + shift
    found = ranges_from_feeds(Given(), {"a": (1,)}, [{"a": values}])["a"]
    scale, zero = scale_and_zero(found, dtype)
    back = (np.clip(np.round(np.append(values, 0) / scale) + zero, -128, 127) - float(zero)) * scale
    assert scale.dtype == dtype
    assert np.abs(back[:-1] - values).max() <= (0.5 if dtype is np.float32 else 0.6) * float(scale) + 1e-6
    assert back[-1] == 0


def test_a_value_that_is_always_zero_stays_zero():
    found = ranges_from_feeds(Given(), {"a": (1,)}, [{"a": np.zeros(10, np.float32)}])["a"]
    scale, zero = scale_and_zero(found, np.float16)
    assert scale > 0
    assert zero == -128


def test_large_values_are_looked_at_in_parts():
    given = Given()
    feeds = [{name: np.ones(3) for name in "abc"}]
    ranges_from_feeds(given, dict.fromkeys("abc", (1 << 26,)), feeds)
    assert given.asked == [["a", "b"], ["c"]]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_refuses_what_is_not_finite(value: float):
    with pytest.raises(BadInput, match="NaN or infinity in a while calibrating"):
        ranges_from_feeds(Given(), {"a": (2,)}, [{"a": np.array([1.0, value])}])
