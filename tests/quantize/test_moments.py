"""Rows and their sums against PyTorch's unfold and against the products written out."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from edgestep.quantize.moments import BATCH, matrix_rows, moments_from_rows, patch_rows, spread


def numbers(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize(
    ("taps", "pads", "stride", "dilation"), [((3, 3), 1, 1, 1), ((3, 2), 0, 2, 1), ((3, 3), 2, 1, 2)]
)
def test_patches_are_those_of_unfold(taps: tuple[int, int], pads: int, stride: int, dilation: int):
    value = numbers(2, 3, 9, 8)
    rows = patch_rows(value, taps, [pads] * 4, [stride] * 2, [dilation] * 2, most=10_000, sample=0)
    unfolded = torch.nn.functional.unfold(torch.from_numpy(value), taps, dilation, pads, stride)
    np.testing.assert_array_equal(rows, unfolded.permute(0, 2, 1).reshape(-1, 3 * taps[0] * taps[1]).numpy())


def test_padding_may_differ_at_each_side():
    value = numbers(1, 1, 3, 3)
    rows = patch_rows(value, (1, 1), (1, 0, 0, 2), (1, 1), (1, 1), most=100, sample=0)
    assert rows.reshape(4, 5)[1:, :3].tolist() == value[0, 0].tolist()
    assert not rows.reshape(4, 5)[0].any()
    assert not rows.reshape(4, 5)[:, 3:].any()


def test_rows_taken_lie_on_no_grid_and_each_sample_has_others():
    places = [set(spread(64 * 64, 32, sample).tolist()) for sample in range(4)]
    assert all(len(taken) == 32 and max(taken) < 64 * 64 for taken in places)
    assert all(len({place % 64 for place in taken}) > 16 for taken in places)
    assert len(set.union(*places)) == 4 * 32
    assert spread(5, 9, 3).tolist() == [0, 1, 2, 3, 4]
    assert matrix_rows(numbers(2, 50, 4), 7, 1).tolist() == numbers(2, 50, 4).reshape(-1, 4)[spread(100, 7, 1)].tolist()


def test_sums_are_the_means_over_all_rows_however_they_come():
    t, x = numbers(BATCH + 300, 5), numbers(BATCH + 300, 5, seed=1)
    cuts = [0, 100, 900, BATCH + 1, BATCH + 300]
    made = moments_from_rows(5, ((t[a:b], x[a:b]) for a, b in pairwise(cuts)))
    np.testing.assert_allclose(made.hessian, x.T.astype(float) @ x / len(x), atol=1e-5)
    np.testing.assert_allclose(made.crossed, (t - x).T.astype(float) @ x / len(x), atol=1e-5)
