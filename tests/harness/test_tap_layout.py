"""Layouts: what can be told apart is mapped, what cannot is refused."""

import numpy as np
import pytest

from edgestep.harness.bisection.tap_layout import fits, laid_out

PICTURE = np.arange(2 * 3 * 4 * 5, dtype=np.float32).reshape(2, 3, 4, 5)


def test_tokens_are_pixels_in_rows():
    tokens = laid_out(PICTURE, (2, 20, 3))
    assert tokens[1, 2 * 5 + 3, 2] == PICTURE[1, 2, 2, 3]
    assert np.array_equal(laid_out(tokens, PICTURE.shape), PICTURE)


def test_sizes_of_one_come_and_go():
    assert laid_out(PICTURE, (1, 2, 3, 4, 5)).shape == (1, 2, 3, 4, 5)
    assert fits((1, 7), (7,))


@pytest.mark.parametrize(
    ("tap", "value"),
    [((2, 3, 4, 5), (2, 3, 20)), ((2, 20, 4, 5), (2, 20, 20)), ((2, 3), (3, 2)), ((2, 3, 4, 5), (2, 4, 5, 3))],
    ids=["channels first", "ambiguous", "transposed", "channels last"],
)
def test_another_order_of_numbers_does_not_fit(tap: tuple[int, ...], value: tuple[int, ...]):
    assert not fits(tap, value)
    with pytest.raises(ValueError, match="expected"):
        laid_out(np.zeros(tap, np.float32), value)


def test_a_free_size_fits_any():
    assert fits((2, 77, 8), (-1, 77, 8))
    assert not fits((2, 77, 8), (-1, 76, 8))
