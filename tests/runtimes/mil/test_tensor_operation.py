"""Joining, splitting, padding, sorting against coremltools' value_inference; against numpy or torch without it."""

import numpy as np
import pytest
import torch
from coremltools.converters.mil.mil import Builder as mb
from hypothesis import given
from hypothesis import strategies as st

from edgestep.artifact import BadInput
from tests.runtimes.mil.built import (
    IOS15,
    IOS16,
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


def _with_axis(low: int = 1, high: int = 4, of=floats) -> st.SearchStrategy:
    return shapes(low, high).flatmap(lambda s: st.tuples(of(s), st.integers(-len(s), len(s) - 1)))


@given(shapes(2, 4).flatmap(floats), st.integers(-1, 3), st.integers(-1, 3))
@quick
def test_band_part(x, lower, upper):
    held_to_inference("band_part", {"x": x}, lower=lower, upper=upper)


def test_band_part_of_a_mask_of_infinities_has_zeros_outside():
    x = np.full((3, 3), -np.inf, np.float32)
    (got,) = evaluated("band_part", {"x": x}, lower=0, upper=-1)
    same(got, np.where(np.tri(3, k=-1, dtype=bool), 0, x))  # value_inference: NaN


@given(_with_axis(), st.booleans(), st.booleans())
@quick
def test_cumsum(case, exclusive, backwards):
    x, axis = case
    axis = max(axis, -1)  # MIL takes no other negative one
    data = np.flip(x, axis) if backwards else x
    want = np.cumsum(data, axis) - (data if exclusive else 0)
    want = np.flip(want, axis) if backwards else want
    same(evaluated("cumsum", {"x": x}, axis=axis, exclusive=exclusive, reverse=backwards)[0], want, atol=1e-5)
    if not exclusive:
        held_to_inference("cumsum", {"x": x}, axis=axis, reverse=backwards)


@given(shapes(), st.sampled_from([np.float32(1.5), np.int32(-3), True]))
@quick
def test_fill_and_fill_like(shape, value):
    held_to_inference("fill", {"shape": np.array(shape, np.int32)}, value=value)
    held_to_inference("fill_like", {"ref_tensor": np.zeros(shape, np.float32)}, value=value, target=IOS16)


def test_fill_has_a_default():
    assert evaluated("fill", {"shape": np.array([2], np.int32)})[0].tolist() == [0, 0]


@given(shapes().flatmap(lambda s: whole(s, -1, 1)))
@quick
def test_non_zero(x):
    (got,) = evaluated_program({"x": x}, lambda x: mb.cast(x=mb.non_zero(x=x), dtype="fp32"))
    same(got, np.argwhere(x))


@given(shapes(1, 3).flatmap(lambda s: st.tuples(whole(s, 0, 3), st.integers(-len(s) - 1, len(s)))))
@quick
def test_one_hot_is_pytorchs(case):
    indices, axis = case
    hot = torch.nn.functional.one_hot(torch.from_numpy(indices).long(), 5).movedim(-1, axis).numpy()
    same(evaluated("one_hot", {"indices": indices}, one_hot_vector_size=5, axis=axis)[0], hot)
    got = evaluated(
        "one_hot",
        {"indices": indices},
        one_hot_vector_size=5,
        axis=axis,
        on_value=np.float32(2.5),
        off_value=np.float32(-1),
    )
    same(got[0], np.where(hot, 2.5, -1))


def test_one_hot_of_an_index_outside_is_nowhere():
    assert not evaluated("one_hot", {"indices": np.array([-1, 3], np.int32)}, one_hot_vector_size=3)[0].any()


@given(
    shapes(1, 4).flatmap(
        lambda s: st.tuples(
            floats(s),
            st.integers(1, len(s)).flatmap(lambda n: st.lists(st.integers(0, 2), min_size=2 * n, max_size=2 * n)),
        )
    ),
    st.sampled_from(["constant", "reflect", "replicate"]),
)
@quick
def test_pad(case, mode):
    x, amounts = case
    if mode == "reflect":
        sides = x.shape[x.ndim - len(amounts) // 2 :]
        amounts = [min(amount, sides[i // 2] - 1) for i, amount in enumerate(amounts)]
    held_to_inference("pad", {"x": x}, pad=np.array(amounts, np.int32), mode=mode, constant_val=np.float32(-1.5))


def test_pad_of_amounts_that_are_an_input():
    x, amounts = np.arange(6, dtype=np.float32).reshape(2, 3), np.array([0, 1, 2, 0], np.int32)
    same(evaluated("pad", {"x": x, "pad": amounts})[0], np.pad(x, [(0, 1), (2, 0)]))


@given(st.integers(-5, 5), st.integers(-5, 9), st.sampled_from([1, 2, 3, 0.5]))
@quick
def test_range_1d(start, end, step):
    steps = np.float32(step if start <= end else -step)
    numbers = {"start": np.float32(start), "end": np.float32(end), "step": steps}
    same(evaluated("range_1d", numbers)[0], np.arange(start, end, steps))
    if step >= 1 and start <= end:
        held_to_inference("range_1d", {}, start=np.int32(start), end=np.int32(end), step=np.int32(step))


@given(shapes().flatmap(lambda s: st.tuples(floats(s), st.lists(st.integers(1, 3), min_size=len(s), max_size=len(s)))))
@quick
def test_tile(case):
    x, reps = case
    held_to_inference("tile", {"x": x}, reps=np.array(reps, np.int32))


@given(_with_axis(of=lambda shape: floats(shape, unique=True)), st.booleans())
@quick
def test_argsort(case, ascending):
    x, axis = case
    held_to_inference("argsort", {"x": x}, axis=axis, ascending=ascending)


@given(_with_axis(of=lambda shape: floats(shape, unique=True)), st.booleans(), st.integers(1, 4))
@quick
def test_topk(case, ascending, k):
    x, axis = case
    k = min(k, x.shape[axis])
    for target in (IOS15, IOS16, IOS17):
        held_to_inference("topk", {"x": x}, k=k, axis=axis, ascending=ascending, target=target)
    held_to_inference("topk", {"x": x}, k=k, axis=axis, sort=True, return_indices=False, target=IOS16)


def test_topk_of_bytes_with_indices_of_16_bits():
    x = np.array([[3, 250, 7]], np.uint8)
    values, indices = evaluated("topk", {"x": x}, k=2, output_indices_dtype="uint16", target=IOS17)
    assert values.dtype == np.uint8 and values.tolist() == [[250, 7]]
    assert indices.dtype == np.uint16 and indices.tolist() == [[1, 2]]


@given(_with_axis())
@quick
def test_flatten2d_and_shape(case):
    x, axis = case
    want = x.reshape(int(np.prod(x.shape[:axis])), -1)
    same(evaluated("flatten2d", {"x": x}, axis=axis)[0], want)
    if axis % x.ndim:  # there value_inference takes numpy's 1.0 of no sizes for one
        held_to_inference("flatten2d", {"x": x}, axis=axis)
    held_to_inference("shape", {"x": x})


@given(_with_axis(of=lambda s: st.lists(floats(s), min_size=1, max_size=3)))
@quick
def test_concat_and_stack(case):
    arrays, axis = case
    names = [f"x{i}" for i in range(len(arrays))]
    inputs = dict(zip(names, arrays, strict=True))
    joined, stacked, turns = evaluated_program(
        inputs,
        lambda **fed: [
            mb.concat(values=list(fed.values()), axis=axis),
            mb.stack(values=list(fed.values()), axis=axis),
            mb.concat(values=list(fed.values()), axis=axis, interleave=True),
        ],
    )
    same(joined, np.concatenate(arrays, axis))
    same(stacked, np.stack(arrays, axis))
    for i, array in enumerate(arrays):
        places = np.arange(i, turns.shape[axis], len(arrays))
        same(np.take(turns, places, axis), array)


def test_concat_of_pieces_of_other_lengths_and_of_scalars():
    x, y = np.ones((2, 1), np.float32), np.zeros((2, 3), np.float32)
    same(evaluated_program({"x": x, "y": y}, lambda x, y: mb.concat(values=[x, y], axis=-1))[0], np.hstack([x, y]))
    numbers = {"x": np.float32(1), "y": np.float32(2)}
    assert evaluated_program(numbers, lambda x, y: mb.concat(values=[x, y], axis=0))[0].tolist() == [1, 2]


@given(_with_axis(), st.data())
@quick
def test_split(case, data):
    x, axis = case
    size = x.shape[axis]
    cut = data.draw(st.integers(0, size - 1))
    sizes = [cut, size - cut] if cut else [size]
    uneven = evaluated("split", {"x": x}, split_sizes=sizes, axis=axis)
    even = evaluated("split", {"x": x}, num_splits=size, axis=axis)
    wanted = np.split(x, np.cumsum(sizes)[:-1], axis) + np.split(x, size, axis)
    for one, want in zip((*uneven, *even), wanted, strict=True):
        same(one, want)


def test_identity_is_what_it_is_given():
    held_to_inference("identity", {"x": np.array([1.5, np.nan], np.float32)})


def test_a_split_into_pieces_that_do_not_fit_is_one_line():
    from edgestep.runtimes.mil.ops.tensor_operation import split

    with pytest.raises(ValueError, match="a size of 5 in 2 equal pieces"):
        split(torch.zeros(5), torch.tensor(0), torch.tensor(2))


def _overlapping() -> tuple[np.ndarray, np.ndarray]:
    """Two pairs of boxes that overlap by half, and one box apart."""
    boxes = np.array([[2, 2, 4, 4], [2, 3, 4, 4], [9, 9, 2, 2], [9, 9.5, 2, 2], [20, 20, 1, 1]], np.float32)
    scores = np.array([[0.9, 0], [0.8, 0.1], [0.2, 0.3], [0, 0.7], [0.05, 0.1]], np.float32)
    return boxes[None], scores[None]


def test_non_maximum_suppression_of_ios_15():
    boxes, scores = _overlapping()
    got = evaluated(
        "non_maximum_suppression",
        {"boxes": boxes, "scores": scores},
        iou_threshold=np.float32(0.4),
        score_threshold=np.float32(0.2),
        max_boxes=4,
    )
    assert got[2].tolist() == [[0, 3, -1, -1]] and got[3].tolist() == [2]
    same(got[0], np.concatenate([boxes[:, [0, 3]], np.zeros((1, 2, 4))], 1))
    same(got[1], np.concatenate([scores[:, [0, 3]], np.zeros((1, 2, 2))], 1))


def test_non_maximum_suppression_of_ios_17_and_by_class():
    boxes, scores = _overlapping()
    scores[0, 1] = [0.1, 0.8]  # another class than the box that it overlaps
    feeds = {"boxes": boxes.transpose(0, 2, 1), "scores": scores.transpose(0, 2, 1)}
    for by_class, want in ((False, [0, 3, 4]), (True, [0, 1, 3])):
        got = evaluated(
            "non_maximum_suppression",
            feeds,
            iou_threshold=np.float32(0.4),
            max_boxes=3,
            per_class_suppression=by_class,
            target=IOS17,
        )
        assert got[2].tolist() == [want]
        same(got[0], feeds["boxes"][:, :, want])
        same(got[1], feeds["scores"][:, :, want])


@given(st.integers(0, 2**31), st.floats(0.1, 0.9))
@quick
def test_non_maximum_suppression_keeps_no_two_that_overlap_and_drops_none_that_does_not(seed, threshold):
    rng = np.random.default_rng(seed)
    boxes = np.concatenate([rng.uniform(0, 4, (1, 12, 2)), rng.uniform(0.5, 3, (1, 12, 2))], -1).astype(np.float32)
    scores = rng.uniform(0, 1, (1, 12, 1)).astype(np.float32)
    got = evaluated(
        "non_maximum_suppression",
        {"boxes": boxes, "scores": scores},
        iou_threshold=np.float32(threshold),
        score_threshold=np.float32(0),
        max_boxes=12,
    )
    kept = got[2][0, : got[3][0]].tolist()
    overlaps = _overlaps(boxes[0]) > np.float32(threshold)
    assert not any(overlaps[i, j] for i in kept for j in kept if i != j)
    dropped = set(range(12)) - set(kept)
    assert all(any(overlaps[i, j] and scores[0, j, 0] >= scores[0, i, 0] for j in kept) for i in dropped)


def _overlaps(boxes: np.ndarray) -> np.ndarray:
    """Return intersection over union, box by box."""
    over = np.eye(len(boxes))
    for i, (x, y, w, h) in enumerate(boxes.astype(np.float64)):
        for j, (u, v, a, b) in enumerate(boxes.astype(np.float64)):
            wide = max(0.0, min(x + w / 2, u + a / 2) - max(x - w / 2, u - a / 2))
            high = max(0.0, min(y + h / 2, v + b / 2) - max(y - h / 2, v - b / 2))
            over[i, j] = wide * high / (w * h + a * b - wide * high)
    return over


def test_feeds_that_an_operation_does_not_take_name_it_and_where_it_is():
    x, amounts = np.ones((1, 3), np.float32), np.array([0, 0, -9, 0], np.int32)
    with pytest.raises(BadInput, match=r"^got pad at \w+, opset CoreML5, with inputs that it does not take"):
        evaluated("pad", {"x": x, "pad": amounts})
