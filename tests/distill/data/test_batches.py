"""A step's rows: every row once an epoch, in a new order each time, with nothing kept."""

import itertools
import tracemalloc

import numpy as np
import pytest
import torch
from scipy import stats

from edgestep.distill.data.batches import batch_index, permuted


@pytest.mark.parametrize("count", [1, 2, 3, 5, 7, 12, 48, 100, 257, 1000])
def test_every_epoch_has_every_row_once(count: int):
    orders = [permuted(np.arange(count), count, seed=3, epoch=epoch) for epoch in range(4)]
    for order in orders:
        assert sorted(order.tolist()) == list(range(count))
    if count >= 48:
        assert all(not np.array_equal(a, b) for a, b in itertools.combinations(orders, 2))


@pytest.mark.parametrize(("count", "batch"), [(10, 4), (7, 7), (5, 12), (100, 64)])
def test_steps_cut_the_stream_of_epochs(count: int, batch: int):
    epochs = np.concatenate([permuted(np.arange(count), count, seed=9, epoch=e) for e in range(20)])
    for step in (0, 1, 2, 5):
        rows = batch_index(count, batch, step, seed=9)
        assert rows.dtype == torch.int64
        assert rows.tolist() == epochs[step * batch : (step + 1) * batch].tolist()


def test_seed_decides():
    first = batch_index(1000, 32, 4, seed=1)
    assert torch.equal(first, batch_index(1000, 32, 4, seed=1))
    assert not torch.equal(first, batch_index(1000, 32, 4, seed=2))


def test_orders_look_like_random_permutations():
    """Where a row goes is uniform (chi-squared), and neighbours are not kept together (rank correlation)."""
    count, epochs = 11, 2200
    orders = np.stack([permuted(np.arange(count), count, seed=5, epoch=e) for e in range(epochs)])
    for place in (0, 5, 10):
        assert stats.chisquare(np.bincount(orders[:, place], minlength=count)).pvalue > 1e-4
    pairs = orders[:, 0] * count + orders[:, 1]
    seen = np.bincount(pairs, minlength=count * count).reshape(count, count)[~np.eye(count, dtype=bool)]
    assert stats.chisquare(seen).pvalue > 1e-4
    large = permuted(np.arange(20_000), 20_000, seed=5, epoch=0)
    assert abs(stats.spearmanr(large[:-1], large[1:]).statistic) < 0.03
    assert abs(stats.spearmanr(np.arange(20_000), large).statistic) < 0.03


def test_a_thousand_million_rows_take_no_memory():
    tracemalloc.start()
    rows = batch_index(1_000_000_007, 256, 10**6, seed=0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000
    assert len(set(rows.tolist())) == 256
    assert 0 <= int(rows.min()) <= int(rows.max()) < 1_000_000_007
