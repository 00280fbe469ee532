"""Gathers and scatters, against coremltools' value_inference, and loops where it has none."""

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from edgestep.artifact import BadInput
from edgestep.runtimes.mil.ops.registry import OPS
from tests.runtimes.mil.built import IOS15, IOS16, IOS17, IOS18, evaluated, held_to_inference, quick, same, shapes
from tests.runtimes.mil.tensors import tensors

SEEDS = st.integers(0, 99)
COMBINED: dict[str, Any] = {
    "update": lambda old, new: new,
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "max": np.maximum,
    "min": np.minimum,
}
"""MIL's mode -> what becomes of a number."""


@quick
@given(data=st.data(), shape=shapes(1, 4), places=shapes(0, 2))
@pytest.mark.parametrize("target", [IOS15, IOS17])
def test_gather(target: Any, data: st.DataObject, shape: tuple[int, ...], places: tuple[int, ...]):
    numbers = np.random.default_rng(data.draw(SEEDS))
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    least = -shape[axis] if target is IOS15 else 0
    indices = numbers.integers(least, shape[axis], places).astype(np.int32)
    held_to_inference(
        "gather", {"x": numbers.standard_normal(shape, np.float32)}, target=target, indices=indices, axis=axis
    )


@quick
@given(data=st.data(), shape=shapes(2, 4), more=shapes(0, 2))
def test_gather_in_batches(data: st.DataObject, shape: tuple[int, ...], more: tuple[int, ...]):
    numbers = np.random.default_rng(data.draw(SEEDS))
    batch = data.draw(st.integers(1, len(shape) - 1))
    axis = data.draw(st.integers(batch, len(shape) - 1))
    x = numbers.standard_normal(shape, np.float32)
    indices = numbers.integers(0, shape[axis], (*shape[:batch], *more)).astype(np.int32)
    (got,) = evaluated("gather", {"x": x}, target=IOS16, indices=indices, axis=axis, batch_dims=batch)
    flat = [np.take(x[at], indices[at], axis - batch) for at in np.ndindex(*shape[:batch])]
    same(got, np.stack(flat).reshape(*shape[:axis], *more, *shape[axis + 1 :]))


def test_a_gather_from_outside_is_refused():
    with pytest.raises(BadInput, match="got gather at"):
        evaluated("gather", {"x": np.ones(3, np.float32), "indices": np.array([1, 3], np.int32)}, target=IOS18)


@pytest.mark.parametrize(
    "op", ["gather", "gather_along_axis", "gather_nd", "scatter", "scatter_along_axis", "scatter_nd"]
)
def test_an_index_below_0_is_refused_where_the_program_validates(op: str):
    fed = tensors(x=np.ones(3), indices=np.array([[-1]] if op.endswith("nd") else [-1], np.int32))
    if op.startswith("scatter"):
        fed |= {"data": fed.pop("x"), "updates": torch.ones(1)}
    assert OPS[op](**fed).numel()
    with pytest.raises(BadInput, match="got the index -1"):
        OPS[op](**fed, validate_indices=torch.tensor(True))


@quick
@given(data=st.data(), shape=shapes(1, 4), count=st.integers(1, 4))
def test_gather_along_axis(data: st.DataObject, shape: tuple[int, ...], count: int):
    numbers = np.random.default_rng(data.draw(SEEDS))
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    places = list(shape)
    places[axis] = count
    indices = numbers.integers(0, shape[axis], places).astype(np.int32)
    held_to_inference(
        "gather_along_axis", {"x": numbers.standard_normal(shape, np.float32)}, indices=indices, axis=axis
    )


@quick
@given(data=st.data(), shape=shapes(2, 4), count=st.integers(1, 4), batch=st.integers(0, 1))
def test_gather_nd(data: st.DataObject, shape: tuple[int, ...], count: int, batch: int):
    numbers = np.random.default_rng(data.draw(SEEDS))
    depth = data.draw(st.integers(1, len(shape) - batch))
    x, rows = numbers.standard_normal(shape, np.float32), shape[:batch]
    indices = numbers.integers(0, shape[batch : batch + depth], (*rows, count, depth)).astype(np.int32)
    (got,) = evaluated("gather_nd", {"x": x, "indices": indices}, target=IOS16, batch_dims=batch)
    wanted = [x[(*at[:batch], *indices[at])] for at in np.ndindex(*rows, count)]
    same(got, np.stack(wanted).reshape(*rows, count, *shape[batch + depth :]))


@quick
@given(data=st.data(), shape=shapes(1, 3), count=st.integers(1, 4), whole=st.booleans())
@pytest.mark.parametrize("mode", COMBINED)
def test_scatter(mode: str, data: st.DataObject, shape: tuple[int, ...], count: int, whole: bool):
    numbers = np.random.default_rng(data.draw(SEEDS))
    axis = data.draw(st.integers(0, len(shape) - 1))
    indices = _indices(numbers, mode, shape[axis], count)
    before, updates = _numbers(numbers, whole, shape, (*shape[:axis], len(indices), *shape[axis + 1 :]))
    wanted = before.copy()
    for i, place in enumerate(indices):
        at = (slice(None),) * axis
        wanted[(*at, place)] = COMBINED[mode](wanted[(*at, place)], updates[(*at, i)])
    got = OPS["scatter"](**tensors(data=before, indices=indices, updates=updates, axis=axis - len(shape)), mode=mode)
    same(got.numpy(), wanted, rtol=1e-4)


@quick
@given(data=st.data(), shape=shapes(1, 3), count=st.integers(1, 4))
@pytest.mark.parametrize("mode", COMBINED)
def test_scatter_along_axis(mode: str, data: st.DataObject, shape: tuple[int, ...], count: int):
    numbers = np.random.default_rng(data.draw(SEEDS))
    axis = data.draw(st.integers(0, len(shape) - 1))
    places = list(shape)
    places[axis] = min(count, shape[axis]) if mode == "update" else count
    indices = np.apply_along_axis(lambda row: _indices(numbers, mode, shape[axis], len(row)), axis, np.zeros(places))
    before, updates = _numbers(numbers, False, shape, places)
    wanted = before.copy()
    for at in itertools.product(*map(range, places)):
        to = (*at[:axis], int(indices[at]), *at[axis + 1 :])
        wanted[to] = COMBINED[mode](wanted[to], updates[at])
    got = OPS["scatter_along_axis"](
        **tensors(data=before, indices=indices.astype(np.int32), updates=updates, axis=axis), mode=mode
    )
    same(got.numpy(), wanted, rtol=1e-4)


def test_scatter_along_axis_as_coremltools_infers_an_update():
    before, updates = np.zeros((3, 4), np.float32), np.arange(8, dtype=np.float32).reshape(2, 4)
    indices = np.array([[0, 1, 2, 0], [2, 0, 0, 1]], np.int32)
    held_to_inference(
        "scatter_along_axis", {"data": before, "updates": updates}, indices=indices, axis=0, mode="update"
    )


@quick
@given(data=st.data(), shape=shapes(1, 4), count=st.integers(1, 3))
@pytest.mark.parametrize("mode", COMBINED)
def test_scatter_nd(mode: str, data: st.DataObject, shape: tuple[int, ...], count: int):
    numbers = np.random.default_rng(data.draw(SEEDS))
    depth = data.draw(st.integers(1, len(shape)))
    indices = numbers.integers(0, shape[:depth], (1 if mode == "update" else count, depth)).astype(np.int32)
    before, updates = _numbers(numbers, False, shape, (len(indices), *shape[depth:]))
    wanted = before.copy()
    for place, new in zip(indices, updates, strict=True):
        wanted[tuple(place)] = COMBINED[mode](wanted[tuple(place)], new)
    got = OPS["scatter_nd"](**tensors(data=before, indices=indices, updates=updates), mode=mode)
    same(got.numpy(), wanted, rtol=1e-4)


@pytest.mark.parametrize("op", ["scatter", "scatter_nd"])
@pytest.mark.parametrize("target", [IOS15, IOS17])
def test_scatters_of_packages_add(op: str, target: Any):
    before, updates = np.zeros((3, 2), np.float32), np.array([[1, 2], [3, 4], [5, 6]], np.float32)
    indices = np.array([2, 0, 2], np.int32)
    places = indices if op == "scatter" else indices[:, None]
    (got,) = evaluated(op, {"data": before, "updates": updates}, target=target, indices=places, mode="add")
    same(got, [[3, 4], [0, 0], [6, 8]])


def test_a_mode_that_is_none_is_refused():
    given_ = tensors(data=np.ones(2), indices=np.array([0], np.int32), updates=np.ones(1))
    with pytest.raises(BadInput, match="mode 'xor'"):
        OPS["scatter"](**given_, mode="xor")


def _indices(numbers: np.random.Generator, mode: str, size: int, count: int) -> np.ndarray:
    """Return places, none twice for an update, whose order MIL leaves open."""
    if mode == "update":
        return numbers.permutation(size)[:count].astype(np.int32)
    return numbers.integers(0, size, count).astype(np.int32)


def _numbers(numbers: np.random.Generator, whole: bool, *sizes: Any) -> list[np.ndarray]:
    if whole:
        return [np.where(values < 0, 7, 2).astype(np.float32) for values in map(numbers.standard_normal, sizes)]
    return [(numbers.random(size) + 0.5).astype(np.float32) for size in sizes]
