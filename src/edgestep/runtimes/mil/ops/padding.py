"""MIL's pad_type of a convolution or a pooling -> how much is added before and after each spatial dimension."""

from collections.abc import Sequence

import torch
from torch.nn import functional

from edgestep.runtimes.mil.arguments import ints, one_of

PAD_TYPES = ("valid", "same", "same_lower", "custom")
Pads = list[tuple[int, int]]


def pads_of(
    pad_type: str, pad: torch.Tensor | None, sizes: Sequence[int], kernel: Sequence[int], strides: Sequence[int]
) -> Pads:
    """Return [(before, after), ...] by dimension; `kernel` is the extent, dilation included.

    `same` gives ceil(size / stride), as coremltools' shape inference and TensorFlow do; the text of MIL's `conv` has
    another formula, which agrees with it for odd kernels at stride 1 alone. An odd amount goes after, with
    `same_lower` before.
    """
    kind = one_of("pad_type", pad_type.lower(), PAD_TYPES)
    if kind == "valid" or (kind == "custom" and pad is None):
        return [(0, 0)] * len(sizes)
    if kind == "custom":
        both = ints(pad) if pad is not None else []
        return list(zip(both[::2], both[1::2], strict=True))
    totals = [max(0, (-(-n // s) - 1) * s + k - n) for n, k, s in zip(sizes, kernel, strides, strict=True)]
    less = [(total // 2, total - total // 2) for total in totals]
    return less if kind == "same" else [(after, before) for before, after in less]


def padded(x: torch.Tensor, pads: Pads, value: float = 0.0) -> torch.Tensor:
    """Return [n, C, *D] with its spatial dimensions padded, cropped where an amount is negative."""
    flat = [amount for pair in reversed(pads) for amount in pair]
    return functional.pad(x, flat, value=value) if any(flat) else x


def per_dimension(given: torch.Tensor | None, rank: int) -> list[int]:
    """Return strides or dilations, 1 each by default."""
    return [1] * rank if given is None else ints(given)
