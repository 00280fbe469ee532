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


def round_half(x: torch.Tensor) -> torch.Tensor:
    """Return float32 values rounded to float16, to nearest even, inf beyond 65504."""
    return x.half().float()


def infinite(x: torch.Tensor) -> int:
    """Return how many of it are infinite; 0 at the cost of one pass."""
    if not x.numel() or torch.isfinite(x.abs().amax()):
        return 0
    return int(torch.isinf(x).sum())
