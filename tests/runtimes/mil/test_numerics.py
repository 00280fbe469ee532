"""Rounding to float16 against numpy's, in any layout of memory, and the overflow that it reports."""

import numpy as np
import pytest
import torch

from edgestep.runtimes.mil import numerics
from edgestep.runtimes.mil.numerics import round_half

LAYOUTS = {
    "contiguous": lambda x: x,
    "permuted": lambda x: x.permute(2, 0, 1),
    "every other": lambda x: x[:, ::2],
    "broadcast": lambda x: x[:1].expand(3, -1, -1),
    "one number": lambda x: x[0, 0, 0],
    "none": lambda x: x[:0],
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("block", [7, 1 << 18])
def test_rounding_is_numpys(monkeypatch, layout: str, in_place: bool, block: int):
    if in_place and layout == "broadcast":
        pytest.skip("several numbers in one place cannot be written")
    monkeypatch.setattr(numerics, "BLOCK", block)
    x = LAYOUTS[layout](torch.randn(4, 6, 5, generator=torch.Generator().manual_seed(0)) * 300)
    expected, before = x.numpy().astype(np.float16).astype(np.float32), x.clone()
    out, suspect = round_half(x, in_place)
    assert not suspect and out.dtype == torch.float32
    np.testing.assert_array_equal(out.numpy(), expected)
    assert (out is x) == in_place
    if not in_place:
        assert torch.equal(x, before)


@pytest.mark.parametrize(("value", "suspect"), [(65519.0, False), (65520.0, True), (-7e4, True), (np.nan, True)])
@pytest.mark.parametrize("place", [0, 19])
def test_an_overflow_is_seen_wherever_it_is(monkeypatch, value: float, suspect: bool, place: int):
    monkeypatch.setattr(numerics, "BLOCK", 8)
    x = torch.zeros(20)
    x[place] = value
    out, seen = round_half(x)
    assert seen == suspect
    assert out[place].item() == pytest.approx(float(np.float16(np.float32(value))), nan_ok=True)
