"""scaled_dot_product_attention, against coremltools' value_inference."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.runtimes.mil.built import IOS18, held_to_inference, quick


@quick
@given(
    seed=st.integers(0, 99),
    batch=st.lists(st.integers(1, 3), min_size=1, max_size=2),
    lengths=st.tuples(*[st.integers(1, 5)] * 2),
)
@pytest.mark.parametrize("mask", ["none", "added", "added to all", "kept"])
def test_scaled_dot_product_attention(mask: str, seed: int, batch: list[int], lengths: tuple[int, int]):
    numbers = np.random.default_rng(seed)
    target, source = lengths
    sizes = {"query": (target, 4), "key": (source, 4), "value": (source, 3)}
    fed = {name: numbers.standard_normal((*batch, *size), np.float32) for name, size in sizes.items()}
    if mask == "kept":
        kept = numbers.random((target, source)) < 0.5
        kept[:, 0] = True
        fed["attn_mask"] = kept
    elif mask != "none":
        fed["attn_mask"] = numbers.standard_normal((target if mask == "added" else 1, source), np.float32)
    held_to_inference("scaled_dot_product_attention", fed, target=IOS18)
