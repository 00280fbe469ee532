"""The binary operations against coremltools' value_inference over broadcasts, and what it leaves open."""

from collections.abc import Sequence

import numpy as np
import pytest
from coremltools.converters.mil.mil import Builder as mb
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tests.runtimes.mil.built import (
    evaluated,
    evaluated_program,
    floats,
    held_to_inference,
    inferred,
    quick,
    same,
    whole,
)

COMPARED = ("equal", "greater", "greater_equal", "less", "less_equal", "not_equal")
ANY = ("add", "floor_div", "maximum", "minimum", "mod", "mul", "sub", *COMPARED)
LOGICAL = ("logical_and", "logical_or", "logical_xor")
PAIRS = hnp.mutually_broadcastable_shapes(num_shapes=2, min_dims=1, max_side=3).map(lambda s: s.input_shapes)


def _held_together(names: Sequence[str], x: np.ndarray, y: np.ndarray) -> None:
    got = evaluated_program({"x": x, "y": y}, lambda x, y: [getattr(mb, name)(x=x, y=y) for name in names])
    for name, one in zip(names, got, strict=True):
        with np.errstate(all="ignore"):
            (want,) = inferred(name, x=x, y=y)
        same(one, want)


def _two(of) -> st.SearchStrategy:
    return PAIRS.flatmap(lambda pair: st.tuples(of(pair[0]), of(pair[1])))


@given(_two(lambda shape: floats(shape, -3, 3, dtype="float16").map(lambda x: x.astype(np.float32))))
@quick
def test_floats_broadcast_and_divide_also_by_zero(pair):
    _held_together([*ANY, "real_div"], *pair)


@given(_two(whole))
@quick
def test_integers_broadcast_and_divide_also_by_zero(pair):
    _held_together(ANY, *pair)


@given(_two(lambda shape: whole(shape, 0, 1)))
@quick
def test_logical_operations(pair):
    _held_together(LOGICAL, *(x.astype(bool) for x in pair))


@given(PAIRS.flatmap(lambda pair: st.tuples(floats(pair[0], 0.125, 4), floats(pair[1], -3, 3))))
@quick
def test_powers(pair):
    _held_together(["pow"], *pair)


def test_powers_of_negative_numbers_and_of_integers():
    x = np.array([-2, -2, 0, 0, np.inf, np.nan], np.float32)
    _held_together(["pow"], x, np.array([3, 0.5, 0, -1, -1, 0], np.float32))
    _held_together(["pow"], np.array([-2, 3, 0], np.int32), np.array([3, 2, 0], np.int32))


@pytest.mark.parametrize("op", [*ANY, "real_div"])
def test_what_is_no_number_and_what_is_infinite(op):
    values = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1.5, -1.5], np.float32)
    held_to_inference(op, {"x": values[:, None], "y": values})


def test_integers_are_divided_towards_zero_or_down():
    x, y = np.array([7, -7, 7, -7, 5], np.int32), np.array([2, 2, -2, -2, 0], np.int32)
    assert evaluated("real_div", {"x": x, "y": y})[0].tolist() == [3, -3, -3, 3, 0]
    assert evaluated("floor_div", {"x": x, "y": y})[0].tolist() == [3, -4, -4, 3, 0]
    assert evaluated("mod", {"x": x, "y": y})[0].tolist() == [1, 1, -1, -1, 0]


def test_large_integers_are_exact_and_the_least_one_by_minus_one_wraps():
    x, y = np.array([2**31 - 1, -(2**31)], np.int32), np.array([3, -1], np.int32)
    assert evaluated("real_div", {"x": x, "y": y})[0].tolist() == [715827882, -(2**31)]
    held_to_inference("floor_div", {"x": x, "y": y}, rtol=0)


def test_a_constant_on_either_side():
    x = np.array([[1.0, 2.0]], np.float32)
    same(evaluated("sub", {"x": x}, y=np.float32(3))[0], x - 3)
    same(evaluated("sub", {"y": x}, x=np.float32(3))[0], 3 - x)
