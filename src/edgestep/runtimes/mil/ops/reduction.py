"""Reductions over axes: sums, means, norms, extremes. Integers are added up in int64, roots of them in float64.

No `axes` means all of them; a list of none reduces nothing, as value_inference does.
"""

from collections.abc import Callable
from functools import reduce

import torch

from edgestep.runtimes.mil.arguments import Value, flag, integer, ints
from edgestep.runtimes.mil.ops.families import Op

Reducer = Callable[[torch.Tensor, list[int], bool], torch.Tensor]


def over_axes(reducer: Reducer) -> Op:
    """Return an operation with MIL's `axes` and `keep_dims` from a function of a tensor, axes from 0 on, and a flag."""

    def reduced(x: torch.Tensor, axes: torch.Tensor | None = None, keep_dims: Value | bool = False) -> torch.Tensor:
        chosen = range(x.dim()) if axes is None else sorted({axis % x.dim() for axis in ints(axes)})
        return reducer(x, list(chosen), flag(keep_dims))

    return reduced


def arg(function: Callable[..., torch.Tensor]) -> Op:
    """Return argmax or argmin as MIL has it: the first where several are equal, which MIL leaves open."""

    def index(
        x: torch.Tensor, axis: Value | int = -1, keep_dims: Value | bool = False, output_dtype: str = "int32"
    ) -> torch.Tensor:
        del output_dtype  # the program declares it as well
        return function(x, dim=integer(axis), keepdim=flag(keep_dims))

    return index


def add_up(x: torch.Tensor, axes: list[int], keep: bool) -> torch.Tensor:
    """Return the sum."""
    return x.sum(axes, keepdim=keep) if axes else x


def mean(x: torch.Tensor, axes: list[int], keep: bool) -> torch.Tensor:
    """Return the mean, towards zero of integers."""
    return _real(x).mean(axes, keepdim=keep) if axes else x


def prod(x: torch.Tensor, axes: list[int], keep: bool) -> torch.Tensor:
    """Return the product; torch takes one axis at a time, the last first, so that the others keep their number."""
    return reduce(lambda made, axis: made.prod(axis, keepdim=keep), reversed(axes), x)


def most(x: torch.Tensor, axes: list[int], keep: bool) -> torch.Tensor:
    """Return the maximum."""
    return x.amax(axes, keepdim=keep) if axes else x


def least(x: torch.Tensor, axes: list[int], keep: bool) -> torch.Tensor:
    """Return the minimum."""
    return x.amin(axes, keepdim=keep) if axes else x


def log_sum_exp(x: torch.Tensor, axes: list[int], keep: bool) -> torch.Tensor:
    """Return log(sum(e^x)); of nothing but -inf that is -inf, where value_inference gives NaN."""
    return torch.logsumexp(_real(x), axes, keepdim=keep) if axes else x


def _real(x: torch.Tensor) -> torch.Tensor:
    return x if x.is_floating_point() else x.double()


OPS: dict[str, Op] = {
    "reduce_argmax": arg(torch.argmax),
    "reduce_argmin": arg(torch.argmin),
    "reduce_l1_norm": over_axes(lambda x, axes, keep: add_up(x.abs(), axes, keep)),
    "reduce_l2_norm": over_axes(lambda x, axes, keep: add_up(_real(x).square(), axes, keep).sqrt()),
    "reduce_log_sum": over_axes(lambda x, axes, keep: add_up(_real(x), axes, keep).log()),
    "reduce_log_sum_exp": over_axes(log_sum_exp),
    "reduce_max": over_axes(most),
    "reduce_mean": over_axes(mean),
    "reduce_min": over_axes(least),
    "reduce_prod": over_axes(prod),
    "reduce_sum": over_axes(add_up),
    "reduce_sum_square": over_axes(lambda x, axes, keep: add_up(x.square(), axes, keep)),
}
