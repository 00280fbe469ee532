"""Two tensors in, broadcast as numpy does: add, floor_div, greater and the like."""

from collections.abc import Callable

import torch

from edgestep.runtimes.mil.ops.families import Op, of_xy

Pair = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def real_div(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Return x / y, towards zero between integers: MIL declares the type of x, value_inference gives a fraction."""
    if _whole(x, y):
        return _by_nonzero(lambda a, b: torch.div(a, b, rounding_mode="trunc"), x, y)
    return torch.true_divide(x, y)


def floor_div(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Return the floor of x / y."""
    return _by_nonzero(torch.floor_divide, x, y) if _whole(x, y) else torch.floor_divide(x, y)


def mod(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Return x - y * floor_div(x, y): it has the sign of y. By inf it is x, or y where the signs differ."""
    return _by_nonzero(torch.remainder, x, y) if _whole(x, y) else torch.remainder(x, y)


def _whole(x: torch.Tensor, y: torch.Tensor) -> bool:
    return not x.is_floating_point() and not y.is_floating_point()


def _by_nonzero(divide: Pair, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Divide integers; by 0 they give 0, as value_inference does and MIL leaves open, where torch would stop.

    int64, since the least int32 by -1 is more than an int32.
    """
    quotient = divide(x.long(), torch.where(y == 0, 1, y).long())
    return torch.where(y == 0, 0, quotient)


OPS: dict[str, Op] = {
    "add": of_xy(torch.add),
    "equal": of_xy(torch.eq),
    "floor_div": floor_div,
    "greater": of_xy(torch.gt),
    "greater_equal": of_xy(torch.ge),
    "less": of_xy(torch.lt),
    "less_equal": of_xy(torch.le),
    "logical_and": of_xy(torch.logical_and),
    "logical_or": of_xy(torch.logical_or),
    "logical_xor": of_xy(torch.logical_xor),
    # NaN stays NaN on either side, as in value_inference; MIL's `x > y ? x : y`, word for word, would give y.
    "maximum": of_xy(torch.maximum),
    "minimum": of_xy(torch.minimum),
    "mod": mod,
    "mul": of_xy(torch.mul),
    "not_equal": of_xy(torch.ne),
    "pow": of_xy(torch.pow),
    "real_div": real_div,
    "sub": of_xy(torch.sub),
}
