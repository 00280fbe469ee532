"""MIL's matrix products -> torch's."""

from collections.abc import Sequence

import torch
from torch.nn import functional

from edgestep.runtimes.mil.arguments import flag
from edgestep.runtimes.mil.ops.families import Op


def linear(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    """[*D, D_in], [D_out, D_in] -> [*D, D_out]."""
    return functional.linear(x, weight.to(x.dtype), None if bias is None else bias.to(x.dtype))


def matmul(
    x: torch.Tensor,
    y: torch.Tensor,
    transpose_x: torch.Tensor | bool = False,
    transpose_y: torch.Tensor | bool = False,
) -> torch.Tensor:
    """Product of the last two dimensions, the others broadcast; a vector is a row on the left, a column on the right.

    From iOS 17 on a constant may be of another type than the other operand: the wider of the two is computed in.
    """
    left = x.transpose(-1, -2) if flag(transpose_x) and x.dim() > 1 else x
    right = y.transpose(-1, -2) if flag(transpose_y) and y.dim() > 1 else y
    wide = torch.promote_types(left.dtype, right.dtype)
    return torch.matmul(left.to(wide), right.to(wide))


def einsum(values: Sequence[torch.Tensor], equation: str) -> torch.Tensor:
    """Products of matrices on dimensions -1 and -3: nchw,nwhu->nchu or chw,whr->chr, H and n broadcast."""
    return torch.einsum(equation, *values)


OPS: dict[str, Op] = {"einsum": einsum, "linear": linear, "matmul": matmul}
