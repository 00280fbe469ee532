"""k-means on a line, held against the optimum that dynamic programming finds."""

import numpy as np
import pytest

from edgestep.quantize.coreml.kmeans import nearest, table_from_values
from edgestep.quantize.coreml.palette import palette_bytes, palettized


def optimum(values: np.ndarray, places: int) -> float:
    """Return the least squared error of `places` centres, by dynamic programming over sorted values."""
    x = np.sort(values.astype(np.float16).astype(np.float64).reshape(-1))
    s, q = np.concatenate([[0], np.cumsum(x)]), np.concatenate([[0], np.cumsum(x**2)])
    starts = np.arange(len(x))
    best = np.concatenate([[0.0], np.full(len(x), np.inf)])
    for _ in range(places):
        new = np.full(len(x) + 1, np.inf)
        for end in range(1, len(x) + 1):
            n = end - starts[:end]
            cost = q[end] - q[:end] - (s[end] - s[:end]) ** 2 / n
            new[end] = np.min(best[:end] + cost)
        best = new
    return float(best[-1])


@pytest.mark.parametrize("bits", [1, 2, 4])
@pytest.mark.parametrize("kind", ["normal", "heavy", "uniform"])
def test_is_near_the_optimum(bits: int, kind: str):
    random = np.random.default_rng(bits)
    draw = {"normal": random.standard_normal, "heavy": lambda n: random.standard_t(3, n), "uniform": random.random}
    values = draw[kind](600).astype(np.float32)
    table, indices = table_from_values(values, bits)
    error = np.sum((table[indices].astype(np.float64) - values) ** 2)
    assert error <= 1.25 * optimum(values, 1 << bits)


def test_every_value_gets_its_nearest_number():
    values = np.random.default_rng(0).standard_normal((7, 9, 11)).astype(np.float16)
    table, indices = table_from_values(values, 4)
    distances = np.abs(values.reshape(-1, 1).astype(np.float32) - table)
    assert np.array_equal(np.abs(values.reshape(-1) - table[indices]), distances.min(axis=1))
    assert np.array_equal(indices, nearest(table, values))
    assert (table.shape, indices.dtype) == ((16,), np.uint8)


def test_few_values_are_kept_as_they_are():
    values = np.tile(np.array([-1.5, 0, 0.25], np.float16), 100)
    table, indices = table_from_values(values, 2)
    assert np.array_equal(table[indices], values)
    constant, places = table_from_values(np.full(50, 3.0, np.float32), 8)
    assert np.array_equal(constant[places], np.full(50, 3.0))


@pytest.mark.parametrize(("axis", "group", "tables"), [(0, 0, 1), (0, 4, 3), (1, 2, 4)])
def test_groups_have_tables_of_their_own(axis: int, group: int, tables: int):
    values = np.random.default_rng(0).standard_normal((12, 8, 5)).astype(np.float16)
    values *= np.arange(1, values.shape[axis] + 1).reshape([-1 if i == axis else 1 for i in range(3)])
    made = palettized(values, 2, axis=axis, group=group)
    parts = np.split(made, tables, axis=axis)
    assert made.shape == values.shape
    assert all(len(np.unique(part)) <= 4 for part in parts)
    assert (len(np.unique(made)) > 4) == (tables > 1)
    assert palette_bytes(values, 2, axis=axis, group=group) == values.size // 4 + tables * 4 * 2
