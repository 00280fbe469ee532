"""Rounding to blocks against closed forms and a search by hand."""

import numpy as np
import pytest

from edgestep.quantize.rounding import rounded, scales_of


def test_what_is_on_the_grid_is_kept_exactly():
    integers = np.tile(np.arange(-8, 8), (3, 2)).astype(np.float32)
    scales = np.repeat(np.array([[0.5, 0.25], [2.0, 0.125], [1.0, 4.0]], np.float32), 16, axis=1)
    made = rounded(integers * scales, 4, 16)
    assert np.array_equal(made.values, integers * scales)


def test_eight_bits_clip_nothing_and_err_at_most_half_a_step():
    weights = np.random.default_rng(1).standard_normal((5, 40)).astype(np.float32)
    made = rounded(weights, 8, 40)
    assert np.allclose(made.scales[:, 0], np.abs(weights).max(axis=1) / 127)
    assert np.all(np.abs(made.values - weights) <= made.scales * 0.5001)


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_scales_err_no_more_than_any_of_a_fine_search(bits):
    weights = np.random.default_rng(bits).standard_normal((4, 64)).astype(np.float32)
    error = np.sum((rounded(weights, bits, 64).values - weights) ** 2, axis=1)
    half = 2 ** (bits - 1)
    for row, found in zip(weights, error, strict=True):
        tried = [s * np.clip(np.round(row / s), -half, half - 1) for s in np.linspace(0.02, 3.0, 600)]
        assert found <= 1.03 * min(np.sum((row - each) ** 2) for each in tried)


def test_importance_decides_what_is_clipped():
    weights = np.random.default_rng(0).uniform(-1, 1, (1, 32)).astype(np.float32)
    weights[0, 0] = 3.0
    free, weighted = np.ones(32), np.ones(32)
    weighted[0] = 1e4
    assert abs(scales_of(weights, 3, 32, weighted)[0, 0]) > abs(scales_of(weights, 3, 32, free)[0, 0])
    assert rounded(weights, 3, 32, weighted).values[0, 0] == pytest.approx(3.0, rel=0.02)


def test_a_block_of_zeros_stays_zero():
    assert not rounded(np.zeros((2, 16), np.float32), 4, 8).values.any()
