"""Ranges of what flows between layers: over all samples, with what is worth cutting off cut off."""

from collections.abc import Sequence

import numpy as np
import pytest

from edgestep.artifact import BadInput
from edgestep.quantize.activation_ranges import Range, range_of_counts, ranges_from_feeds
from edgestep.quantize.coreml_w8a8 import scale_and_zero


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


def rounded(values: np.ndarray, found: Range) -> np.ndarray:
    scale, zero = scale_and_zero(found, np.float32)
    return (np.clip(np.round(values / scale) + zero, -128, 127) - zero.astype(np.float32)) * scale


def test_ranges_are_over_all_samples_and_hold_zero():
    feeds = [{"a": np.array([1.0, 2.0])}, {"a": np.array([3.0, 5.0])}, {"a": np.array([4.0, 4.5])}]
    assert ranges_from_feeds(Given(), {"a": (2,)}, feeds, clip=False) == {"a": Range(0.0, 5.0)}


@pytest.mark.parametrize("outlier", [12.0, -12.0, 400.0])
def test_a_range_is_no_worse_than_the_whole_one(outlier: float):
    values = np.append(np.random.default_rng(0).standard_normal(1_000_000), outlier).astype(np.float32)
    feeds = [{"a": part} for part in np.array_split(values, 3)]
    whole, cut = (ranges_from_feeds(Given(), {"a": (1,)}, feeds, clip=clip)["a"] for clip in (False, True))
    errors = [np.sum((rounded(values, found) - values) ** 2) for found in (whole, cut)]
    assert errors[1] <= errors[0] * 1.01
    assert (whole.low, whole.high) == (float(values.min()), float(values.max()))
    if abs(outlier) == 12:
        assert errors[1] < 0.6 * errors[0]


def test_numbers_of_one_sign_keep_all_levels_on_their_side():
    values = np.abs(np.random.default_rng(0).standard_normal(50_000)).astype(np.float32)
    found = ranges_from_feeds(Given(), {"a": (1,)}, [{"a": values}])["a"]
    assert found.low == 0
    assert scale_and_zero(found, np.float32)[1] == -128


def test_counts_of_nothing_but_zero_give_a_range_that_keeps_zero():
    found = ranges_from_feeds(Given(), {"a": (1,)}, [{"a": np.zeros(10, np.float32)}])["a"]
    scale, zero = scale_and_zero(found, np.float16)
    assert scale > 0
    assert np.all((np.round(np.zeros(3) / scale) + zero - zero) * scale == 0)


def test_large_values_are_looked_at_in_parts():
    given = Given()
    feeds = [{name: np.ones(3) for name in "abc"}]
    ranges_from_feeds(given, dict.fromkeys("abc", (1 << 26,)), feeds, clip=False)
    assert given.asked == [["a", "b"], ["c"]]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_refuses_what_is_not_finite(value: float):
    with pytest.raises(BadInput, match="NaN or infinity in a while calibrating"):
        ranges_from_feeds(Given(), {"a": (2,)}, [{"a": np.array([1.0, value])}])


def test_the_least_error_of_those_tried_is_taken():
    counts = np.zeros(4096)
    counts[:200], counts[-1] = 10_000, 1
    assert range_of_counts(counts, Range(0.0, 1.0)).high == pytest.approx(0.3)
    assert range_of_counts(np.ones(4096), Range(0.0, 1.0)).high == 1.0
