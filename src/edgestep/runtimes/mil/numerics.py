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


def round_half(x: torch.Tensor, in_place: bool = False) -> torch.Tensor:
    """Return float32 values rounded to float16, to nearest even, inf beyond 65504; `in_place` saves a copy."""
    half = x.half()
    return x.copy_(half) if in_place else half.float()


def overflows(x: torch.Tensor) -> bool:
    """Tell whether a float32 tensor has what is inf in float16, or no number at all; one pass, nothing allocated."""
    if not x.numel():
        return False
    least, most = torch.aminmax(x)
    return not (most < FIRST_INF and least > -FIRST_INF)


def infinite(x: torch.Tensor) -> int:
    """Return how many of it are infinite."""
    return int(torch.isinf(x).sum()) if overflows(x) else 0
