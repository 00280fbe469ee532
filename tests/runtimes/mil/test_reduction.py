"""The reductions against coremltools' value_inference over axes and kept dimensions."""

import numpy as np
import pytest
from coremltools.converters.mil.mil import Builder as mb
from hypothesis import given
from hypothesis import strategies as st

from tests.runtimes.mil.built import (
    IOS17,
    evaluated,
    evaluated_program,
    floats,
    held_to_inference,
    inferred,
    quick,
    same,
    shapes,
    whole,
)

OVER_AXES = (
    *("reduce_l1_norm", "reduce_l2_norm", "reduce_log_sum", "reduce_log_sum_exp", "reduce_max"),
    *("reduce_mean", "reduce_min", "reduce_prod", "reduce_sum", "reduce_sum_square"),
)
OVER_ONE = ("reduce_argmax", "reduce_argmin")


def _axes(shape: tuple[int, ...]) -> st.SearchStrategy:
    axis = st.integers(-len(shape), len(shape) - 1)
    return st.lists(axis, min_size=1, unique_by=lambda i: i % len(shape)) | st.none()


def _case(of) -> st.SearchStrategy:
    return shapes().flatmap(lambda shape: st.tuples(of(shape), _axes(shape), st.booleans()))


def _held_together(x: np.ndarray, axes: list[int] | None, keep: bool) -> None:
    given_axes = {} if axes is None else {"axes": axes}
    got = evaluated_program(
        {"x": x}, lambda x: [getattr(mb, name)(x=x, keep_dims=keep, **given_axes) for name in OVER_AXES]
    )
    for name, one in zip(OVER_AXES, got, strict=True):
        (want,) = inferred(name, x=x, keep_dims=keep, **given_axes)
        same(one, want, rtol=1e-4)


@given(_case(lambda shape: floats(shape, 0.125, 3)))
@quick
def test_reductions_of_floats(case):
    _held_together(*case)


@given(_case(lambda shape: whole(shape, 1, 3)))
@quick
def test_reductions_of_integers(case):
    _held_together(*case)


@given(shapes().flatmap(lambda s: st.tuples(floats(s, unique=True), st.integers(-len(s), len(s) - 1), st.booleans())))
@quick
def test_where_the_extremes_are(case):
    x, axis, keep = case
    for op in OVER_ONE:
        held_to_inference(op, {"x": x}, axis=axis, keep_dims=keep)


def test_where_the_extremes_are_in_uint16():
    x = np.array([[3.0, 9.0, 1.0], [5.0, 4.0, 6.0]], np.float32)
    (got,) = evaluated("reduce_argmax", {"x": x}, output_dtype="uint16", target=IOS17)
    assert got.dtype == np.uint16 and got.tolist() == [1, 2]


def test_of_equal_numbers_the_first_is_found():
    x = np.array([2, 7, 7, 2], np.int32)
    assert [evaluated(op, {"x": x})[0].tolist() for op in OVER_ONE] == [1, 0]


@pytest.mark.parametrize("op", OVER_AXES)
def test_what_is_no_number_stays_none(op):
    held_to_inference(op, {"x": np.array([[np.nan, 1.0], [2.0, 3.0]], np.float32)}, axes=[1])


def test_log_sum_exp_of_masked_rows_is_mils_formula():
    x = np.array([[-np.inf, -np.inf], [-np.inf, 1.0]], np.float32)
    same(evaluated("reduce_log_sum_exp", {"x": x}, axes=[1])[0], [-np.inf, 1.0])  # value_inference: NaN, 1


def test_sums_in_half_numbers_are_added_in_float32_and_rounded_once():
    x = np.full((1, 4096), 1.0009765625, np.float16)
    (got,) = evaluated("reduce_sum", {"x": x}, axes=[1], numerics="fp16")
    assert got.dtype == np.float16 and got.tolist() == [np.float16(4100.0)]
    assert np.isinf(evaluated("reduce_sum_square", {"x": x * np.float16(5)}, axes=[1], numerics="fp16")[0]).all()
