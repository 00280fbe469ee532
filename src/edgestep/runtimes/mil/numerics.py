"""In what numbers a program is evaluated: exactly, or with every float16 tensor rounded after every operation.

`fp32` asks whether the graph is right. `fp16` does what a GPU or the Neural Engine does approximately: products and
sums inside an operation in float32, what it gives rounded to float16, and inf where that overflows.
"""

from dataclasses import dataclass

import torch

NUMERICS = ("fp32", "fp16")


@dataclass(frozen=True)
class Overflow:
    """Where a finite number became inf in float16 first: the operation's type and location, and how many did."""

    op: str
    location: str
    count: int

    def __str__(self) -> str:
        return f"float16 overflow first at {self.op} {self.location} ({self.count} value{'s' * (self.count != 1)})"


FIRST_INF = 65520.0
"""From here on a number rounds to inf in float16: half a step beyond the largest, 65504."""


BLOCK = 1 << 18
"""Numbers that are looked at and rounded together: they stay in the cache, a large tensor is read from memory once."""


def round_half(x: torch.Tensor, in_place: bool = False) -> tuple[torch.Tensor, bool]:
    """Return float32 values rounded to float16, to nearest even, inf beyond 65504; and whether one overflowed.

    That is true where a value is inf in float16, was inf before, or is no number. `in_place` saves a copy.
    """
    out = x if in_place else torch.empty_like(x)
    source, target = _flat(x), _flat(out)
    if source is None or target is None:
        suspect = overflows(x)
        return out.copy_(x.half()), suspect
    block = BLOCK if x.device.type == "cpu" else max(1, x.numel())
    half, suspect = torch.empty(min(block, x.numel()), dtype=torch.float16, device=x.device), False
    for start in range(0, x.numel(), block):
        part = source[start : start + block]
        suspect = overflows(part) or suspect
        target[start : start + block].copy_(half[: len(part)].copy_(part))
    return out, suspect


def _flat(x: torch.Tensor) -> torch.Tensor | None:
    """Return a view of all its numbers in the order of memory; None where they do not lie side by side."""
    order = sorted(range(x.dim()), key=x.stride, reverse=True)
    sorted_by_stride = x.permute(order)
    return sorted_by_stride.view(-1) if sorted_by_stride.is_contiguous() else None


def overflows(x: torch.Tensor) -> bool:
    """Tell whether a float32 tensor has what is inf in float16, or no number at all; one pass, nothing allocated."""
    if not x.numel():
        return False
    least, most = torch.aminmax(x)
    return not (most < FIRST_INF and least > -FIRST_INF)


def infinite(x: torch.Tensor) -> int:
    """Return how many of it are infinite."""
    return int(torch.isinf(x).sum()) if overflows(x) else 0
