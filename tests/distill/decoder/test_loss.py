"""The loss against numbers worked out by hand."""

import pytest
import torch

from edgestep.distill.decoder.loss import ABSOLUTE, SIZES, SMALLER, decoder_loss, picture_error


def test_beyond_an_end_is_no_error_where_the_target_lies_at_it():
    drawn = torch.tensor([1.4, 0.9, -1.4, -0.9, 1.4, -1.4]).view(1, 1, 1, 6)
    target = torch.tensor([1.2, 1.2, -1.0, -1.0, 0.5, 0.5]).view(1, 1, 1, 6)
    expected = torch.tensor([0.0, -0.1, 0.0, 0.1, 0.9, -1.9])
    torch.testing.assert_close(picture_error(drawn, target).flatten(), expected)


@pytest.mark.parametrize("offset", [0.1, -0.3])
def test_an_offset_counts_at_every_size(offset):
    target = torch.zeros(2, 3, 8, 8)
    expected = offset**2 * (1 + SMALLER * (SIZES - 1)) + ABSOLUTE * abs(offset)
    assert decoder_loss(target + offset, target).item() == pytest.approx(expected, rel=1e-5)


def test_a_checkerboard_counts_at_full_size_only():
    board = (torch.arange(8)[:, None] + torch.arange(8)) % 2 * 0.4 - 0.2
    target = torch.zeros(1, 3, 8, 8)
    assert decoder_loss(target + board, target).item() == pytest.approx(0.04 + ABSOLUTE * 0.2, rel=1e-5)
