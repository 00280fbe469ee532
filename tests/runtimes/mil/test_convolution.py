"""Convolutions, against the sums that define them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgestep.artifact import BadInput
from edgestep.runtimes.mil.ops.registry import OPS
from tests.runtimes.mil.built import IOS16, IOS17, evaluated, quick, same
from tests.runtimes.mil.tensors import tensors
from tests.runtimes.mil.windows import convolved, same_pads, spread

SEEDS = st.integers(0, 99)


def several(least: int, most: int) -> st.SearchStrategy[tuple[int, int, int]]:
    return st.tuples(*[st.integers(least, most)] * 3)


@quick
@given(seed=SEEDS, kernel=several(1, 3), strides=several(1, 2), dilations=several(1, 2), groups=st.sampled_from([1, 2]))
@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("pad_type", ["valid", "same", "same_lower", "custom"])
def test_conv(pad_type: str, rank: int, seed: int, kernel: tuple, strides: tuple, dilations: tuple, groups: int):
    numbers = np.random.default_rng(seed)
    kernel, strides, dilations = kernel[:rank], strides[:rank], dilations[:rank]
    sizes = (7, 6, 5)[:rank]
    x, weight = numbers.standard_normal((2, 4, *sizes)), numbers.standard_normal((6, 4 // groups, *kernel))
    bias = numbers.standard_normal(6)
    extents = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    pads = [(0, 0)] * rank
    if pad_type == "custom":
        pads = [tuple(numbers.integers(0, 3, 2)) for _ in range(rank)]
    elif pad_type != "valid":
        pads = same_pads(sizes, extents, strides, pad_type == "same_lower")
    options = {"strides": strides, "dilations": dilations, "groups": groups, "pad": np.ravel(pads)}
    got = OPS["conv"](**tensors(x=x, weight=weight, bias=bias, **options), pad_type=pad_type)
    wanted = convolved(x, weight, strides, pads, dilations, groups) + bias.reshape(-1, *[1] * rank)
    same(got.numpy(), wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("pad_type", ["same", "same_lower"])
def test_conv_of_a_package_has_the_shape_that_coremltools_infers(pad_type: str):
    x = np.arange(28, dtype=np.float32).reshape(1, 1, 4, 7)
    weight = np.ones((1, 1, 2, 4), np.float32)
    (got,) = evaluated("conv", {"x": x}, target=IOS16, weight=weight, strides=[1, 2], pad_type=pad_type)
    pads = same_pads((4, 7), (2, 4), (1, 2), pad_type == "same_lower")
    same(got, convolved(x, weight, (1, 2), pads, (1, 1), 1))


def test_conv_of_a_package_with_weights_that_are_fed():
    x, weight = np.arange(5, dtype=np.float32).reshape(1, 1, 5), np.array([[[1, -2]]], np.float32)
    (got,) = evaluated("conv", {"x": x, "weight": weight}, target=IOS17, pad_type="custom", pad=[1, 0])
    same(got, [[[0, -2, -3, -4, -5]]])


@quick
@given(seed=SEEDS, kernel=several(1, 4), strides=several(1, 3), dilations=several(1, 2), groups=st.sampled_from([1, 2]))
@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("pad_type", ["valid", "same", "custom", "sized", "same and sized"])
def test_conv_transpose(
    pad_type: str, rank: int, seed: int, kernel: tuple, strides: tuple, dilations: tuple, groups: int
):
    numbers = np.random.default_rng(seed)
    kernel, strides, dilations = kernel[:rank], strides[:rank], dilations[:rank]
    sizes = (4, 3, 2)[:rank]
    x, weight = numbers.standard_normal((2, 4, *sizes)), numbers.standard_normal((4, 3, *kernel))
    bias = numbers.standard_normal(3 * groups)
    whole = spread(x, weight, strides, dilations, groups)
    extents = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    options = {"strides": strides, "dilations": dilations, "groups": groups}
    crops, wanted = [(0, 0)] * rank, list(whole.shape[2:])
    if pad_type == "custom":
        crops = [(min(1, (n - 1) // 2), min(2, (n - 1) // 2)) for n in wanted]
        wanted = [n - sum(pair) for n, pair in zip(wanted, crops, strict=True)]
        options["pad"] = np.ravel(crops)
    elif pad_type == "sized":
        wanted = [n + 1 for n in wanted]
    elif pad_type != "valid":
        less = numbers.integers(0, np.array(strides)) if "sized" in pad_type else 0
        wanted = list(np.array(sizes) * strides - less)
        crops = same_pads(wanted, extents, strides, False)
    if "sized" in pad_type:
        options["output_shape"] = [2, 3 * groups, *wanted]
    kind = "valid" if pad_type == "sized" else pad_type.partition(" ")[0]
    got = OPS["conv_transpose"](**tensors(x=x, weight=weight, bias=bias, **options), pad_type=kind)
    held = np.pad(whole, [(0, 0), (0, 0), *[(0, 9)] * rank])
    cut = tuple(slice(before, before + n) for (before, _), n in zip(crops, wanted, strict=True))
    same(got.numpy(), held[(slice(None), slice(None), *cut)] + bias.reshape(-1, *[1] * rank), rtol=1e-4, atol=1e-4)


def test_conv_transpose_of_a_package():
    x, weight = np.arange(6, dtype=np.float32).reshape(1, 1, 2, 3), np.ones((1, 2, 3, 2), np.float32)
    (got,) = evaluated("conv_transpose", {"x": x}, weight=weight, strides=[2, 2], pad_type="same")
    same(got, spread(x, weight, (2, 2), (1, 1), 1)[:, :, :4, :6])


def test_conv_quantized_is_the_convolution_of_its_weights():
    numbers = np.random.default_rng(0)
    x, levels = numbers.standard_normal((1, 2, 5)), numbers.integers(0, 256, (3, 2, 3)).astype(np.uint8)
    scale, shift = numbers.random(3), numbers.standard_normal(3)
    got = OPS["conv_quantized"](
        **tensors(x=x, weight=levels, quant_scale=scale, quant_bias=shift), quantization_type="linear", pad_type="same"
    )
    weight = levels * scale[:, None, None] + shift[:, None, None]
    same(got.numpy(), convolved(x, weight, [1], [(1, 1)], [1], 1), rtol=1e-4, atol=1e-3)


def test_conv_quantized_with_a_table_is_refused():
    given_ = tensors(x=np.ones((1, 1, 3)), weight=np.ones((1, 1, 1), np.uint8), quant_scale=1.0, quant_bias=0.0)
    with pytest.raises(BadInput, match="lut weights of 8 bits"):
        OPS["conv_quantized"](**given_, quantization_type="lut")


def test_a_pad_type_that_is_none_is_refused():
    with pytest.raises(BadInput, match="pad_type 'most'"):
        OPS["conv"](**tensors(x=np.ones((1, 1, 3)), weight=np.ones((1, 1, 1))), pad_type="most")
