"""Choices, loops and lists against Python's own, and select against numpy's where."""

import numpy as np
import pytest
from coremltools.converters.mil.mil import Builder as mb
from hypothesis import given
from hypothesis import strategies as st

from edgestep.artifact import BadInput
from tests.runtimes.mil.built import (
    IOS17,
    evaluated,
    evaluated_program,
    floats,
    held_to_inference,
    quick,
    same,
    shapes,
    whole,
)


@given(shapes().flatmap(lambda s: st.tuples(whole(s, 0, 1), floats(s), floats(s))))
@quick
def test_select(case):
    cond, a, b = case
    held_to_inference("select", {"cond": cond.astype(bool), "a": a, "b": b})


def test_select_broadcasts_and_keeps_what_it_does_not_choose_out():
    a, b = np.array([[1.0], [np.nan]], np.float32), np.float32(-np.inf)
    cond = np.array([[True], [False]])
    held_to_inference("select", {"cond": cond, "a": a, "b": np.full((2, 1), b)})
    same(evaluated("select", {"cond": cond, "a": a}, b=b)[0], [[1.0], [-np.inf]])


@pytest.mark.parametrize("pred", [True, False])
def test_cond_runs_one_of_two_blocks(pred):
    x = np.array([1.0, -2.0], np.float32)

    def build(pred, x):
        return mb.cond(
            pred=pred,
            _true_fn=lambda: (mb.relu(x=x), mb.add(x=x, y=np.float32(1))),
            _false_fn=lambda: (mb.square(x=x), mb.sub(x=x, y=np.float32(1))),
        )

    got = evaluated_program({"pred": np.array(pred), "x": x}, build)
    for one, want in zip(got, (np.maximum(x, 0), x + 1) if pred else (x * x, x - 1), strict=True):
        same(one, want)


@given(st.integers(0, 6), floats((2,), 1, 2))
@quick
def test_while_loop_runs_its_body_while_its_condition_holds(times, x):
    def build(n, x):
        def body(i, y):
            return mb.sub(x=i, y=np.float32(1)), mb.mul(x=y, y=x)

        return mb.while_loop(
            _cond=lambda i, y: mb.greater(x=i, y=np.float32(0)), _body=body, loop_vars=(n, mb.identity(x=x))
        )

    left, product = evaluated_program({"n": np.float32(times), "x": x}, build)
    assert left == 0
    same(product, x ** (times + 1))


def test_a_loop_in_a_choice_reads_values_from_outside_both():
    def build(pred, x, n):
        def looped():
            return mb.while_loop(
                _cond=lambda i, y: mb.less(x=i, y=n),
                _body=lambda i, y: (mb.add(x=i, y=np.float32(1)), mb.add(x=y, y=x)),
                loop_vars=(np.float32(0), mb.identity(x=x)),
            )[1]

        return mb.cond(pred=pred, _true_fn=looped, _false_fn=lambda: mb.identity(x=x))

    x = np.array([3.0], np.float32)
    for pred, want in ((True, x * 5), (False, x)):
        same(evaluated_program({"pred": np.array(pred), "x": x, "n": np.float32(4)}, build)[0], want)


def test_what_is_written_into_a_list_is_read_gathered_and_counted():
    x = np.arange(6, dtype=np.float32).reshape(3, 2)

    def build(x):
        ls = mb.make_list(init_length=2, elem_shape=(2,), dtype="fp32")
        _, second, third = mb.split(x=x, num_splits=3, axis=0)
        ls = mb.list_write(ls=ls, index=0, value=mb.squeeze(x=third, axes=[0]))
        longer = mb.list_write(ls=ls, index=4, value=mb.squeeze(x=second, axes=[0]))
        return [
            mb.list_read(ls=ls, index=0),
            mb.list_read(ls=ls, index=1),
            mb.list_gather(ls=longer, indices=[4, 0, 3]),
            mb.list_length(ls=longer),
            mb.list_length(ls=ls),
        ]

    read, blank, gathered, length, before = evaluated_program({"x": x}, build)
    same(read, x[2])
    same(blank, [0, 0])
    same(gathered, [x[1], x[2], [0, 0]])
    assert (length, before) == (5, 2)


def test_a_list_of_sizes_known_later_is_scattered_into():
    x = np.arange(6, dtype=np.float32).reshape(3, 2)

    def build(x):
        ls = mb.make_list(init_length=3, dynamic_length=False, elem_shape=("width",), dtype="fp32")
        ls = mb.list_scatter(ls=ls, indices=[2, 0, 1], value=x)
        return mb.list_gather(ls=ls, indices=[0, 1, 2])

    same(evaluated_program({"x": x}, build, target=IOS17)[0], x[[1, 2, 0]])


def test_reading_what_was_never_written_is_one_line():
    def build(i):
        ls = mb.list_write(ls=mb.make_list(init_length=1, elem_shape=(1,)), index=0, value=np.zeros(1, np.float32))
        return mb.list_read(ls=ls, index=i)

    with pytest.raises(BadInput, match=r"got list_read at .*\(IndexError: element 7 of a list of 1"):
        evaluated_program({"i": np.array(7, np.int32)}, build)
