"""Bytes and blocks of a weight, counted by hand and against what the packed constants really take."""

import numpy as np
import pytest

from edgestep.quantize.onnx.packing import packed
from edgestep.quantize.onnx.weights import Weight
from edgestep.quantize.rounding import rounded
from edgestep.quantize.widths import WIDTHS, block_of, bytes_of


@pytest.mark.parametrize(
    ("shape", "axis", "width", "block", "size"),
    [
        ((64, 32, 3, 3), 1, "w8", 288, 64 * 288 + 64 * 4),
        ((64, 32, 3, 3), 1, "w4-64", 72, 64 * 288 // 2 + 64 * 4 * 2),  # 8 inputs of 9 taps
        ((128, 512), 0, "w4-32", 32, 512 * 128 // 2 + 512 * 4 * 2),
        ((320, 1280), 1, "w4-128", 128, 320 * 640 + 320 * 10 * 2),
        ((16, 16, 1, 1), 1, "w4-64", 16, 16 * 16 // 2 + 16 * 2),  # fewer inputs than a block
        ((8, 97), 1, "w4-64", 97, 8 * 97 // 2 + 8 * 2),  # a prime has no divisor near
        ((16, 64), 1, "w3-64", 64, 16 * 64 * 3 // 8 + 16 * 2),
        ((16, 64), 1, "fp32", 64, 16 * 64 * 4),
    ],
)
def test_blocks_and_bytes(shape, axis, width, block, size):
    assert block_of(shape, WIDTHS[width], axis) == block
    assert bytes_of(shape, WIDTHS[width], axis) == size


@pytest.mark.parametrize("name", [name for name, width in WIDTHS.items() if not width.is_float])
def test_what_is_packed_takes_that_many_bytes(name):
    width, shape = WIDTHS[name], (64, 32, 3, 3)
    weight = Weight("unet.conv/Conv", "w", "Conv", shape, 1, 1, 0)
    matrix = np.random.default_rng(0).standard_normal((64, 288)).astype(np.float32)
    made = packed(weight, rounded(matrix, width.bits, weight.block(width)), width, "w0/")
    own = [tensor for tensor in made.tensors if len(tensor.raw_data) > 64]
    assert sum(len(tensor.raw_data) for tensor in own) == weight.bytes(width)
