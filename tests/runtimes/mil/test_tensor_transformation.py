"""Reshapes, permutations and slices, against coremltools' value_inference, PyTorch and NumPy."""

from typing import Any

import numpy as np
import pytest
import torch
from coremltools.converters.mil.mil import Builder as mb
from hypothesis import given
from hypothesis import strategies as st

from tests.runtimes.mil.built import (
    IOS15,
    IOS16,
    IOS17,
    IOS18,
    evaluated,
    evaluated_program,
    held_to_inference,
    quick,
    same,
    shapes,
)


def counted(*shape: int) -> np.ndarray:
    """Return 0, 1, 2, ..., no two alike."""
    return np.arange(np.prod(shape, dtype=int), dtype=np.float32).reshape(shape)


@pytest.mark.parametrize("shape", [[-1], [6, 4], [0, -1], [0, 3, 0], [2, 3, 4, 1]])
def test_reshape(shape: list[int]):
    x = counted(2, 3, 4) if len(shape) != 2 else counted(6, 4)
    held_to_inference("reshape", {"x": x}, shape=shape)


@pytest.mark.parametrize("shape", [[1, 0, -1, 0], [0, 0, 100], [-1, 0]])
def test_reshape_of_ios_17_counts_zeros_from_the_right(shape: list[int]):
    x = counted(2, 50) if shape[-1] != 100 else counted(2, 1, 50).reshape(1, 1, 100)
    held_to_inference("reshape", {"x": x}, target=IOS17, shape=shape)


def test_reshape_like():
    x, (first, second) = counted(2, 3, 5, 6), (counted(2, 3, 4), counted(1, 5, 6))
    one = {"begins": (0, 1), "ends": (2, 0), "end_masks": (False, True)}
    (got,) = evaluated_program(
        {"x": x.reshape(-1), "a": first, "b": second},
        lambda x, a, b: mb.reshape_like(x=x, ref_tensors=(a, b), **one),
        target=IOS16,
    )
    same(got, x)


@quick
@given(data=st.data(), shape=shapes(0, 3), count=st.integers(1, 2))
def test_expand_dims(data: st.DataObject, shape: tuple[int, ...], count: int):
    rank = len(shape) + count
    axes = data.draw(st.lists(st.integers(0, rank - 1), min_size=count, max_size=count, unique=True))
    axes = [axis - rank if data.draw(st.booleans()) else axis for axis in axes]
    held_to_inference("expand_dims", {"x": counted(*shape)}, axes=axes)


@quick
@given(data=st.data(), shape=shapes(1, 4, 2))
def test_squeeze(data: st.DataObject, shape: tuple[int, ...]):
    held_to_inference("squeeze", {"x": counted(*shape)})
    ones = [axis for axis, size in enumerate(shape) if size == 1]
    if ones:
        axes = data.draw(st.lists(st.sampled_from(ones), min_size=1, unique=True))
        held_to_inference("squeeze", {"x": counted(*shape)}, axes=axes)


def test_squeeze_leaves_what_is_more_than_one():
    (got,) = evaluated("squeeze", {"x": counted(1, 3, 1)}, axes=[0, 1])
    same(got, counted(3, 1))


@quick
@given(data=st.data(), shape=shapes(1, 5))
def test_transpose(data: st.DataObject, shape: tuple[int, ...]):
    perm = data.draw(st.permutations(range(len(shape))))
    perm = [axis - len(shape) if data.draw(st.booleans()) else axis for axis in perm]
    held_to_inference("transpose", {"x": counted(*shape)}, perm=perm)


@quick
@given(data=st.data(), shape=shapes(1, 4))
def test_reverse(data: st.DataObject, shape: tuple[int, ...]):
    axes = data.draw(st.lists(st.integers(0, len(shape) - 1), unique=True, min_size=1))
    held_to_inference("reverse", {"x": counted(*shape)}, axes=axes)
    same(evaluated("reverse", {"x": counted(*shape)})[0], np.flip(counted(*shape)))


@quick
@given(data=st.data(), shape=shapes(2, 4))
def test_reverse_sequence(data: st.DataObject, shape: tuple[int, ...]):
    along, batch = data.draw(st.permutations(range(len(shape))))[:2]
    lengths = data.draw(st.lists(st.integers(0, shape[along]), min_size=shape[batch], max_size=shape[batch]))
    x = counted(*shape)
    wanted = x.copy()
    for row, length in enumerate(lengths):
        part, turned = np.moveaxis(x, (batch, along), (0, 1))[row], np.moveaxis(wanted, (batch, along), (0, 1))[row]
        turned[:length] = part[:length][::-1]
    (got,) = evaluated("reverse_sequence", {"x": x}, lengths=lengths, seq_axis=along, batch_axis=batch)
    same(got, wanted)


def slices(data: st.DataObject, shape: tuple[int, ...], squeezes: bool = True) -> dict[str, Any]:
    """Return arguments of a slice that is not empty."""
    rows = []
    for size in shape:
        step = data.draw(st.sampled_from([1, 2, -1, -2]))
        masks = data.draw(st.tuples(*[st.booleans()] * 3))
        first, last = sorted(data.draw(st.tuples(st.integers(0, size - 1), st.integers(1, size))))
        first, last = (min(first, size - 1), max(last, first + 1)) if step > 0 else (max(1, last) - 0, first)
        if step < 0:
            first, last = max(0, size - 1), -size - 1
        rows.append((first - size if data.draw(st.booleans()) else first, last, step, *masks))
    begin, end, stride, begin_mask, end_mask, squeeze = map(list, zip(*rows, strict=True))
    if not squeezes:
        squeeze[:] = [False] * len(squeeze)
    squeeze[0] = False
    names = ("begin", "end", "stride", "begin_mask", "end_mask", "squeeze_mask")
    return dict(zip(names, (begin, end, stride, begin_mask, end_mask, squeeze), strict=True))


@quick
@given(data=st.data(), shape=shapes(1, 4, 5))
@pytest.mark.parametrize("target", [IOS15, IOS17])
def test_slice_by_index(target: Any, data: st.DataObject, shape: tuple[int, ...]):
    held_to_inference("slice_by_index", {"x": counted(*shape)}, target=target, **slices(data, shape))


def test_slice_by_index_where_a_program_computes():
    x, begin = counted(5, 4), np.array([1, -2], np.int32)
    (got,) = evaluated("slice_by_index", {"x": x, "begin": begin}, end=[4, 4])
    same(got, x[1:4, 2:4])


@quick
@given(data=st.data(), shape=shapes(1, 4, 5))
def test_slice_by_size(data: st.DataObject, shape: tuple[int, ...]):
    begin = [data.draw(st.integers(0, size - 1)) for size in shape]
    size = [data.draw(st.sampled_from([-1, n - first])) for n, first in zip(shape, begin, strict=True)]
    begin = [first - n if data.draw(st.booleans()) else first for first, n in zip(begin, shape, strict=True)]
    held_to_inference("slice_by_size", {"x": counted(*shape)}, begin=begin, size=size)


@quick
@given(data=st.data(), shape=shapes(1, 4, 5))
def test_slice_update(data: st.DataObject, shape: tuple[int, ...]):
    where = slices(data, shape)
    (taken,) = evaluated("slice_by_index", {"x": counted(*shape)}, target=IOS18, **where)
    held_to_inference("slice_update", {"x": counted(*shape), "update": -1 - taken}, target=IOS18, **where)


@quick
@given(data=st.data(), shape=shapes(1, 3, 6))
def test_sliding_windows(data: st.DataObject, shape: tuple[int, ...]):
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    size, stride = data.draw(st.integers(1, shape[axis])), data.draw(st.integers(1, 3))
    (got,) = evaluated("sliding_windows", {"x": counted(*shape)}, axis=axis, size=size, stride=stride)
    at = axis % len(shape)
    seen = np.lib.stride_tricks.sliding_window_view(counted(*shape), size, at)
    same(got, np.moveaxis(seen, -1, at + 1)[(slice(None),) * at + (slice(None, None, stride),)])


@pytest.mark.parametrize("block", [2, 3])
def test_depth_to_space_and_back(block: int):
    """Element by element: row and column of the block, then the channel."""
    x = counted(2, block * block * 2, 2, 3)
    (got,) = evaluated("depth_to_space", {"x": x}, block_size=block)
    assert got.shape == (2, 2, 2 * block, 3 * block)
    for n, c, h, w in np.ndindex(*got.shape):
        assert got[n, c, h, w] == x[n, ((h % block) * block + w % block) * 2 + c, h // block, w // block]
    same(evaluated("space_to_depth", {"x": got}, block_size=block)[0], x)


@pytest.mark.parametrize("factor", [2, 3])
def test_pixel_shuffle_and_back(factor: int):
    x = counted(2, factor * factor * 2, 2, 3)
    (got,) = evaluated("pixel_shuffle", {"x": x}, upscale_factor=factor)
    same(got, torch.nn.functional.pixel_shuffle(torch.from_numpy(x), factor).numpy())
    same(evaluated("pixel_unshuffle", {"x": got}, target=IOS16, downscale_factor=np.uint32(factor))[0], x)


def test_space_to_batch_and_back():
    """Element by element: the block's row and column, then the picture; TensorFlow's order."""
    x, blocks, pads = counted(2, 3, 2, 5), (2, 3), [[1, 1], [0, 1]]
    (got,) = evaluated("space_to_batch", {"x": x}, block_shape=blocks, paddings=pads)
    wide = np.pad(x, [(0, 0), (0, 0), *pads])
    assert got.shape == (12, 3, 2, 2)
    for b, c, h, w in np.ndindex(*got.shape):
        (row, column), n = divmod(b // 2, 3), b % 2
        assert got[b, c, h, w] == wide[n, c, h * 2 + row, w * 3 + column]
    same(evaluated("batch_to_space", {"x": got}, block_shape=blocks, crops=pads)[0], x)
