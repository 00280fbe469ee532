"""The random operations: shapes, types, seeds, and the moments of their distributions."""

import numpy as np
import pytest
from coremltools.converters.mil.mil import Builder as mb

from tests.runtimes.mil.built import evaluated, evaluated_program, same

SHAPE = {"shape": np.array([40, 500], np.int32)}


@pytest.mark.parametrize(
    ("op", "constants", "mean", "deviation"),
    [
        ("random_bernoulli", {"prob": 0.25}, 0.25, np.sqrt(3) / 4),
        ("random_normal", {"mean": 2.0, "stddev": 3.0}, 2, 3),
        ("random_uniform", {"low": -1.0, "high": 5.0}, 2, np.sqrt(3)),
    ],
)
def test_moments_and_shape(op, constants, mean, deviation):
    numbers = {name: np.float32(value) for name, value in constants.items()}
    (got,) = evaluated(op, SHAPE, seed=11, **numbers)
    assert got.shape == (40, 500) and got.dtype == np.float32
    assert abs(got.mean() - mean) < 5 * deviation / np.sqrt(got.size)
    assert abs(got.std() - deviation) < 0.03 * deviation


def test_values_lie_where_they_may():
    (bernoulli,) = evaluated("random_bernoulli", SHAPE, prob=np.float32(0.5), seed=1)
    assert set(np.unique(bernoulli)) == {0, 1}
    (uniform,) = evaluated("random_uniform", SHAPE, low=np.float32(2), high=np.float32(3), seed=1)
    assert uniform.min() >= 2 and uniform.max() < 3
    (same_bounds,) = evaluated("random_uniform", SHAPE, low=np.float32(2), high=np.float32(2), seed=1)
    assert (same_bounds == 2).all()


def test_half_numbers_are_drawn_in_half():
    (got,) = evaluated("random_normal", SHAPE, mean=np.float16(0), stddev=np.float16(1), seed=3, numerics="fp16")
    assert got.dtype == np.float16 and 0.9 < got.astype(np.float64).std() < 1.1


@pytest.mark.parametrize("mode", ["logits", "probs"])
def test_categories_come_as_often_as_they_are_probable(mode):
    probabilities = np.array([[0.1, 0.2, 0.7], [0.6, 0.4, 0.0]], np.float32)
    with np.errstate(divide="ignore"):
        x = np.log(probabilities) if mode == "logits" else probabilities
    (got,) = evaluated("random_categorical", {"x": x}, mode=mode, size=5000, seed=5)
    assert got.shape == (2, 5000)
    counts = [[(row == k).mean() for k in range(3)] for row in got]
    same(np.array(counts), probabilities, rtol=0, atol=0.03)
    assert counts[1][2] == 0


@pytest.mark.parametrize("op", ["random_bernoulli", "random_normal", "random_uniform"])
def test_a_seed_repeats_and_none_does_not(op):
    def twice(x, seed):
        sizes = np.array([64], np.int32)
        numbers = {"prob": np.float32(0.5)} if op == "random_bernoulli" else {}
        draws = [getattr(mb, op)(shape=sizes, seed=seed, **numbers) for _ in range(2)]
        return [mb.add(x=x, y=draw) for draw in draws]

    zero = {"x": np.zeros(1, np.float32)}
    first, second = evaluated_program(zero, lambda x: twice(x, 9))
    assert (first == second).all()
    first, second = evaluated_program(zero, lambda x: twice(x, -1))
    assert (first != second).any()
