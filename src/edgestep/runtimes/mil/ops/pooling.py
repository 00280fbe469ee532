"""MIL's poolings -> torch's, over an input padded as MIL says."""

import torch
from torch.nn import functional

from edgestep.artifact import BadInput
from edgestep.runtimes.mil.arguments import flag, ints
from edgestep.runtimes.mil.ops.families import Op
from edgestep.runtimes.mil.ops.padding import Pads, padded, pads_of, per_dimension

Optional = torch.Tensor | None
Flag = torch.Tensor | bool
MAX = {1: functional.max_pool1d, 2: functional.max_pool2d, 3: functional.max_pool3d}
AVERAGE = {1: functional.avg_pool1d, 2: functional.avg_pool2d, 3: functional.avg_pool3d}
"""Number of spatial dimensions -> torch's pooling."""


def max_pool(
    x: torch.Tensor,
    kernel_sizes: torch.Tensor,
    pad_type: str,
    strides: Optional = None,
    pad: Optional = None,
    ceil_mode: Flag = False,
) -> torch.Tensor:
    """[n, C, *D] -> [n, C, *D_out]; padding is never the greatest."""
    kernel, steps, pads, over = _windows(x, kernel_sizes, pad_type, strides, pad, ceil_mode)
    source = padded(padded(x, pads, -torch.inf), over, -torch.inf)
    return MAX[x.dim() - 2](source, kernel, steps)


def avg_pool(
    x: torch.Tensor,
    kernel_sizes: torch.Tensor,
    pad_type: str,
    strides: Optional = None,
    pad: Optional = None,
    exclude_padding_from_average: Flag = False,
    ceil_mode: Flag = False,
) -> torch.Tensor:
    """[n, C, *D] -> [n, C, *D_out]; padding counts as zeros, or not at all.

    As in PyTorch, what a window takes beyond the padding because of `ceil_mode` never counts.
    """
    kernel, steps, pads, over = _windows(x, kernel_sizes, pad_type, strides, pad, ceil_mode)
    average = AVERAGE[x.dim() - 2]
    made = average(padded(padded(x, pads), over), kernel, steps)
    exclude = flag(exclude_padding_from_average)
    if not any(map(any, pads * exclude + over)):
        return made
    counted = padded(torch.ones_like(x[:1, :1]), pads, 0.0 if exclude else 1.0)
    return made / average(padded(counted, over), kernel, steps)


def l2_pool(
    x: torch.Tensor,
    kernel_sizes: torch.Tensor,
    pad_type: str,
    strides: Optional = None,
    pad: Optional = None,
    ceil_mode: Flag = False,
) -> torch.Tensor:
    """[n, C, *D] -> [n, C, *D_out], the root of the sum of squares; 1 or 2 spatial dimensions."""
    if x.dim() > 4:
        raise BadInput(f"got l2_pool over {x.dim() - 2} dimensions; expected 1 or 2; convert the model again")
    kernel, steps, pads, over = _windows(x, kernel_sizes, pad_type, strides, pad, ceil_mode)
    squares = AVERAGE[x.dim() - 2](padded(padded(x, pads), over).square(), kernel, steps)
    return (squares * float(torch.Size(kernel).numel())).sqrt()


def _windows(
    x: torch.Tensor, kernel_sizes: torch.Tensor, pad_type: str, strides: Optional, pad: Optional, ceil_mode: Flag
) -> tuple[list[int], list[int], Pads, Pads]:
    """Return kernel, strides, the padding, and what `ceil_mode` needs beyond it."""
    kernel, steps = ints(kernel_sizes), per_dimension(strides, x.dim() - 2)
    pads = pads_of(pad_type, pad, x.shape[2:], kernel, steps)
    if not flag(ceil_mode):
        return kernel, steps, pads, [(0, 0)] * len(kernel)
    over = []
    for size, k, s, (before, after) in zip(x.shape[2:], kernel, steps, pads, strict=True):
        whole = size + before + after
        count = -(-(whole - k) // s) + 1
        if before + after and (count - 1) * s >= size + before:
            count -= 1
        over.append((0, max(0, (count - 1) * s + k - whole)))
    return kernel, steps, pads, over


OPS: dict[str, Op] = {"avg_pool": avg_pool, "l2_pool": l2_pool, "max_pool": max_pool}
