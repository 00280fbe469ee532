"""The unary operations against coremltools' value_inference, and against numpy where that is silent or wrong."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from coremltools.converters.mil.mil import Builder as mb
from hypothesis import given
from hypothesis import strategies as st

from edgestep.artifact import BadInput
from edgestep.runtimes.mil.ops.elementwise_unary import cast
from tests.runtimes.mil.built import (
    IOS15,
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

ANYWHERE = (
    *("abs", "atan", "ceil", "cos", "cosh", "erf", "exp", "exp2"),
    *("floor", "round", "sign", "sin", "sinh", "square", "tan", "tanh"),
)
WITHIN_ONE = ("acos", "asin", "atanh")
POSITIVE = ("log", "rsqrt", "sqrt", "inverse")
TYPES = ("bool", "fp16", "fp32", "int8", "uint8", "int16", "uint16", "int32")


def _held_together(names: Sequence[str], x: np.ndarray) -> None:
    """Hold many operations of one input to value_inference, in one program."""
    got = evaluated_program({"x": x}, lambda x: [getattr(mb, name)(x=x) for name in names])
    for name, one in zip(names, got, strict=True):
        with np.errstate(all="ignore"):
            (want,) = inferred(name, x=x)
        same(one, want, rtol=2e-5)


@given(shapes(0).flatmap(floats))
@quick
def test_operations_of_any_number(x):
    _held_together(ANYWHERE, x)


@given(shapes().flatmap(lambda shape: floats(shape, -0.9990234375, 0.9990234375)))
@quick
def test_operations_within_one(x):
    _held_together(WITHIN_ONE, x)


@given(shapes().flatmap(lambda shape: floats(shape, 0.0009765625, 1000)))
@quick
def test_operations_of_positive_numbers(x):
    _held_together(POSITIVE, x)


@given(shapes().flatmap(whole))
@quick
def test_operations_of_integers(x):
    _held_together(("abs", "sign", "square", "exp2"), x)
    held_to_inference("threshold", {"x": x}, alpha=np.int32(2))


def test_what_is_no_number_and_what_is_infinite():
    x = np.array([np.nan, np.inf, -np.inf, -0.0, 2.0], np.float32)
    _held_together([*ANYWHERE, *WITHIN_ONE, *POSITIVE], x)


def test_a_half_is_rounded_to_the_even_side():
    (got,) = evaluated("round", {"x": np.array([0.5, 1.5, 2.5, -0.5, -1.5], np.float32)})
    assert got.tolist() == [0, 2, 2, 0, -2]


@given(shapes().flatmap(floats), st.floats(-2, 0, width=16), st.floats(0.5, 2, width=16))
@quick
def test_clip_and_threshold(x, low, high):
    held_to_inference("clip", {"x": x}, alpha=np.float32(low), beta=np.float32(high), target=IOS17)
    held_to_inference("threshold", {"x": x}, alpha=np.float32(low))


def test_clip_lets_no_number_that_is_none_become_one():
    (got,) = evaluated("clip", {"x": np.array([np.nan, -5, 5], np.float32)}, alpha=np.float32(-1), beta=np.float32(1))
    same(got, [np.nan, -1, 1])


@pytest.mark.parametrize("op", ["inverse", "log", "rsqrt"])
def test_epsilon_is_added_before(op):
    x = np.array([0.25, 1, 4], np.float32)
    held_to_inference(op, {"x": x}, epsilon=np.float32(0.5))
    held_to_inference(op, {"x": x.astype(np.float16)}, epsilon=np.float32(0.5), target=IOS17, rtol=1e-3)


@given(shapes().flatmap(lambda shape: whole(shape, 0, 1)))
@quick
def test_logical_not(x):
    held_to_inference("logical_not", {"x": x.astype(bool)})


@given(shapes(0).flatmap(lambda shape: floats(shape, 0, 100)))
@quick
def test_casts_of_floats_go_towards_zero(x):
    _cast_to_every_type(x)


@given(shapes().flatmap(lambda shape: whole(shape, -70000, 70000)))
@quick
def test_casts_of_integers_keep_the_low_bits(x):
    _cast_to_every_type(x)


def _cast_to_every_type(x: np.ndarray) -> None:
    got = evaluated_program({"x": x}, lambda x: [mb.cast(x=x, dtype=kind) for kind in TYPES], target=IOS17)
    for kind, one in zip(TYPES, got, strict=True):
        with np.errstate(over="ignore"):
            (want,) = inferred("cast", x=x, dtype=kind, target=IOS17)
        assert one.dtype == want.dtype
        same(one, want, rtol=1e-3 if kind == "fp16" else 0)


def test_casts_of_iphones_of_15():
    x = np.array([-1.9, -0.0, 0.2, 7.9], np.float32)
    for kind in ("bool", "fp16", "int32"):
        held_to_inference("cast", {"x": x}, dtype=kind, target=IOS15, rtol=1e-3)


def test_a_cast_to_a_type_that_mil_has_not_is_one_line():
    with pytest.raises(BadInput, match="got a cast to 'complex64'; expected one of bool"):
        cast(torch.zeros(1), "complex64")
