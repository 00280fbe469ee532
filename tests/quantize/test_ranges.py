"""Range rules on histograms, against closed forms and brute force on the values themselves."""

import numpy as np
import pytest

from edgestep.artifact import BadInput
from edgestep.quantize.ranges import KEPT, RANGES, Histogram, empty_histogram, range_named


def histogram_of(values: np.ndarray) -> Histogram:
    return empty_histogram(float(values.min()), float(values.max())).with_values(values)


def rounded(values: np.ndarray, low: float, high: float, levels: int) -> np.ndarray:
    step = (high - low) / (levels - 1)
    return np.clip(np.round((values - low) / step), 0, levels - 1) * step + low


def with_outlier(size: float, seed: int = 0) -> np.ndarray:
    return np.append(np.random.default_rng(seed).standard_normal(20_000), size)


@pytest.mark.parametrize("rule", RANGES)
def test_every_rule_keeps_zero_and_stays_within_what_was_seen(rule):
    for values in (with_outlier(40), np.abs(with_outlier(40)) + 1, -np.abs(with_outlier(40))):
        low, high = RANGES[rule](histogram_of(values), 256)
        assert min(values.min(), 0) <= low <= 0 <= high <= max(values.max(), 0)
        assert high > low


def test_minmax_is_all_of_it_and_accumulates():
    one, other = with_outlier(9), with_outlier(-12, seed=1)
    both = empty_histogram(-12, 9).with_values(one).with_values(other)
    assert RANGES["minmax"](both, 256) == (-12, 9)
    assert both.counts.sum() == len(one) + len(other)


def test_percentile_leaves_out_its_share_at_each_end():
    values = np.linspace(-1, 3, 400_001)
    low, high = RANGES["percentile"](histogram_of(values), 256)
    assert np.mean((values >= low) & (values <= high)) == pytest.approx(KEPT, abs=2 / 2048)
    spiked = np.append(values, 1000)
    assert RANGES["percentile"](histogram_of(spiked), 256)[1] < 10


@pytest.mark.parametrize("size", [6.0, 15.0, 60.0])
def test_mse_is_near_the_best_of_all_ranges(size):
    values = with_outlier(size)
    low, high = RANGES["mse"](histogram_of(values), 64)

    def error(low: float, high: float) -> float:
        return float(np.mean((values - rounded(values, low, high, 64)) ** 2))

    best = min(
        error(a * values.min(), b * values.max()) for a in np.linspace(0.25, 1, 16) for b in np.linspace(0.25, 1, 16)
    )
    assert error(low, high) <= 1.1 * best
    assert error(low, high) <= error(values.min(), values.max())


def test_entropy_cuts_a_lone_outlier_and_nothing_of_an_even_spread():
    assert RANGES["entropy"](histogram_of(with_outlier(60)), 64)[1] < 40
    even = np.linspace(-1, 1, 100_001)
    assert RANGES["entropy"](histogram_of(even), 256) == (-1, 1)


def test_16_bits_need_no_cut():
    values = with_outlier(20)
    assert RANGES["mse"](histogram_of(values), 1 << 16) == (values.min(), 20)


def test_an_unknown_rule_is_named_with_what_there_is():
    with pytest.raises(BadInput, match="got range 'widest'; expected one of minmax, percentile, entropy, mse"):
        range_named("widest")
    assert range_named("mse") is RANGES["mse"]
