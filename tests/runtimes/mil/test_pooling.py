"""Poolings, against the windows that define them."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from edgestep.artifact import BadInput
from edgestep.runtimes.mil.ops.registry import OPS
from tests.runtimes.mil.built import IOS16, evaluated, quick, same
from tests.runtimes.mil.tensors import tensors
from tests.runtimes.mil.windows import same_pads, windows

SIZES = (7, 6, 5)


def several(least: int, most: int) -> st.SearchStrategy[tuple[int, int, int]]:
    return st.tuples(*[st.integers(least, most)] * 3)


@quick
@given(seed=st.integers(0, 99), kernel=several(1, 4), strides=several(1, 3))
@pytest.mark.parametrize("op", ["max_pool", "avg_pool", "avg_pool without padding", "l2_pool"])
@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("pad_type", ["valid", "same", "same_lower", "custom"])
def test_pooling(pad_type: str, rank: int, op: str, seed: int, kernel: tuple, strides: tuple):
    numbers = np.random.default_rng(seed)
    kernel, strides = kernel[:rank], strides[:rank]
    x = numbers.standard_normal((2, 3, *SIZES[:rank]))
    if op == "l2_pool" and rank == 3:
        with pytest.raises(BadInput, match="l2_pool over 3"):
            OPS["l2_pool"](**tensors(x=x, kernel_sizes=kernel), pad_type="valid")
        return
    pads = [(0, 0)] * rank
    if pad_type == "custom":
        pads = [tuple(numbers.integers(0, k, 2)) for k in kernel]
    elif pad_type != "valid":
        pads = same_pads(SIZES[:rank], kernel, strides, pad_type == "same_lower")
    options: dict[str, Any] = tensors(kernel_sizes=kernel, strides=strides, pad=np.ravel(pads))
    if op.startswith("avg"):
        options["exclude_padding_from_average"] = "without" in op
    got = OPS[op.partition(" ")[0]](**tensors(x=x), **options, pad_type=pad_type).numpy()
    same(got, pooled(op, x, kernel, strides, pads), atol=1e-5)


def pooled(op: str, x: np.ndarray, kernel: tuple, strides: tuple, pads: Any) -> np.ndarray:
    wide = np.pad(x, [(0, 0), (0, 0), *pads], constant_values=np.nan)
    found = dict(windows(wide, kernel, strides))
    made = np.zeros((*x.shape[:2], *[last + 1 for last in max(found)]))
    for at, part in found.items():
        whole = np.nan_to_num(part)
        if op == "max_pool":
            value = np.nanmax(part, -1)
        elif op == "l2_pool":
            value = np.sqrt(np.square(whole).sum(-1))
        else:
            value = np.nanmean(part, -1) if "without" in op else whole.mean(-1)
        made[(slice(None), slice(None), *at)] = value
    return made


@quick
@given(seed=st.integers(0, 99), kernel=several(2, 4), strides=several(1, 3), side=st.integers(0, 1))
@pytest.mark.parametrize("rank", [1, 2])
@pytest.mark.parametrize("op", ["max_pool", "avg_pool", "avg_pool without padding"])
def test_pooling_with_ceil_mode_is_pytorchs(op: str, rank: int, seed: int, kernel: tuple, strides: tuple, side: int):
    kernel, strides = kernel[:rank], tuple(min(s, k) for s, k in zip(strides, kernel, strict=False))[:rank]
    x = np.random.default_rng(seed).standard_normal((1, 2, *SIZES[:rank]))
    name = op.partition(" ")[0]
    options: dict[str, Any] = {"exclude_padding_from_average": "without" in op} if name == "avg_pool" else {}
    got = OPS[name](
        **tensors(x=x, kernel_sizes=kernel, strides=strides, pad=[side] * 2 * rank),
        **options,
        pad_type="custom",
        ceil_mode=True,
    )
    theirs: Any = getattr(torch.nn.functional, f"{name}{rank}d")
    extra = {"count_include_pad": "without" not in op} if name == "avg_pool" else {}
    wanted = theirs(torch.tensor(x, dtype=torch.float32), kernel, strides, side, ceil_mode=True, **extra)
    same(got.numpy(), wanted.numpy(), atol=1e-5)


@pytest.mark.parametrize("op", ["max_pool", "avg_pool", "l2_pool"])
@pytest.mark.parametrize("ceil", [False, True])
def test_pooling_of_a_package_has_the_shape_that_coremltools_infers(op: str, ceil: bool):
    x = np.arange(49, dtype=np.float32).reshape(1, 1, 7, 7)
    pad = {"pad_type": "custom", "pad": [1, 1, 0, 0], "ceil_mode": ceil}
    (got,) = evaluated(op, {"x": x}, target=IOS16, kernel_sizes=[2, 2], strides=[2, 2], **pad)
    assert got.shape == (1, 1, 4, 4 if ceil else 3)
