"""How many bits a weight takes, and for how many of its inputs one scale stands: `w4-32` is 4 bits, a scale per 32.

    w = scale * q,  q of -2^(bits-1) .. 2^(bits-1) - 1

with no zero point. A block is about that many numbers of one output channel; 0 is all of them.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

SCALE_BYTES = 2
"""Scales of blocks are float16; the one of a whole channel is float32, of which there are few."""


@dataclass(frozen=True)
class Width:
    """One way to store a weight; 32 `bits` are the float that it was, and `block` numbers share a scale, 0 all."""

    name: str
    bits: int
    block: int = 0

    @property
    def is_float(self) -> bool:
        """Whether the weight stays what it was."""
        return self.bits == 32


WIDTHS: dict[str, Width] = {
    width.name: width
    for width in (
        Width("fp32", 32),
        Width("w8", 8),
        Width("w6-64", 6, 64),
        Width("w5-64", 5, 64),
        Width("w4-32", 4, 32),
        Width("w4-64", 4, 64),
        Width("w4-128", 4, 128),
        Width("w3-64", 3, 64),
        Width("w2-64", 2, 64),
    )
}
"""Name -> width, the widest first. `mixed` chooses among these; not each format has to write all of them."""


def bytes_of(shape: Sequence[int], width: Width, axis: int = 1) -> int:
    """Return the bytes of a weight's numbers and scales, without the names around them.

    `shape` as it lies in the graph, [O, I, kh, kw] or [I, O]; `axis`, 0 or 1, is the one of the inputs, which blocks
    lie along.
    """
    numbers = math.prod(shape)
    if width.is_float:
        return 4 * numbers
    scales = numbers // block_of(shape, width, axis)
    return -(-numbers * width.bits // 8) + scales * (SCALE_BYTES if width.block else 4)


def block_of(shape: Sequence[int], width: Width, axis: int = 1) -> int:
    """Return how many numbers of an output channel share a scale: whole inputs, of which a kernel has kh * kw each.

    It divides the channel: 64 of [320, 1280], 72 of [64, 64, 3, 3]. Where no divisor is near `width.block`, it is
    larger.
    """
    inputs, taps = shape[axis], math.prod(shape[2:])
    wanted = width.block / taps
    if not width.block or wanted >= inputs:
        return inputs * taps
    divisors = [n for n in range(1, inputs + 1) if inputs % n == 0]
    near = [n for n in divisors if wanted / 2 <= n <= wanted * 1.3]
    return taps * (min(near, key=lambda n: abs(n - wanted)) if near else min(n for n in divisors if n >= wanted))
