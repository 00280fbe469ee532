"""Matrix products, against coremltools' value_inference."""

import numpy as np
import pytest
from coremltools.converters.mil.mil import Builder as mb
from hypothesis import given
from hypothesis import strategies as st

from tests.runtimes.mil.built import IOS17, evaluated, evaluated_program, held_to_inference, inferred, quick, same

SEEDS = st.integers(0, 99)


@quick
@given(seed=SEEDS, lead=st.lists(st.integers(1, 3), max_size=2), width=st.integers(1, 5), bias=st.booleans())
def test_linear(seed: int, lead: list[int], width: int, bias: bool):
    numbers = np.random.default_rng(seed)
    weight = numbers.standard_normal((3, width), np.float32)
    constants = {"weight": weight, "bias": weight[:, 0].copy()} if bias else {"weight": weight}
    held_to_inference("linear", {"x": numbers.standard_normal((*lead, width), np.float32)}, **constants)


def test_linear_of_integers():
    x, weight = np.array([[1, 2], [-3, 4]], np.int32), np.array([[1, 2], [3, 4], [5, -6]], np.int32)
    held_to_inference("linear", {"x": x}, weight=weight, bias=np.array([1, 2, 3], np.int32))


@quick
@given(
    seed=SEEDS,
    batches=st.sampled_from([((), ()), ((2,), ()), ((2, 1), (3,)), ((1,), (2,))]),
    turns=st.tuples(st.booleans(), st.booleans()),
)
def test_matmul(seed: int, batches: tuple[tuple[int, ...], tuple[int, ...]], turns: tuple[bool, bool]):
    numbers = np.random.default_rng(seed)
    x = numbers.standard_normal((*batches[0], 3, 4), np.float32)
    y = numbers.standard_normal((*batches[1], 4, 2), np.float32)
    fed = {"x": x.swapaxes(-1, -2) if turns[0] else x, "y": y.swapaxes(-1, -2) if turns[1] else y}
    fed = {name: np.ascontiguousarray(array) for name, array in fed.items()}
    held_to_inference("matmul", fed, transpose_x=turns[0], transpose_y=turns[1])


def test_matmul_of_a_vector_and_of_integers():
    whole = np.arange(6, dtype=np.int32)
    held_to_inference("matmul", {"x": whole[:3], "y": whole.reshape(3, 2)})
    held_to_inference("matmul", {"x": whole.reshape(2, 3), "y": whole.reshape(3, 2)})


def test_matmul_of_two_types_is_of_the_one_that_varies():
    x = np.array([[0.5, 2.0]], np.float32)
    (got,) = evaluated("matmul", {"x": x}, target=IOS17, y=np.array([[2], [3]], np.int32))
    same(got, [[7.0]])


@quick
@given(seed=SEEDS, batch=st.integers(1, 2), broadcast=st.booleans())
@pytest.mark.parametrize("equation", ["nchw,nwhu->nchu", "abcd,adce->abce", "chw,whr->chr"])
def test_einsum(equation: str, seed: int, batch: int, broadcast: bool):
    numbers = np.random.default_rng(seed)
    rank = len(equation.partition(",")[0])
    x = numbers.standard_normal((batch, 3, 4, 5)[-rank:], np.float32)
    y = numbers.standard_normal((batch, 5, 1 if broadcast else 4, 6)[-rank:], np.float32)
    wanted = np.einsum(equation, x, np.broadcast_to(y, (*y.shape[:-2], 4, 6)))
    (got,) = evaluated_program({"x": x, "y": y}, lambda x, y: mb.einsum(values=(x, y), equation=equation))
    same(got, wanted, atol=1e-5)
    same(inferred("einsum", values=(x, y), equation=equation)[0], wanted, atol=1e-5)
