"""What every family of operations is written in."""

from collections.abc import Callable
from typing import Any

import torch

Op = Callable[..., Any]
"""A function of MIL's inputs by their names, to a value or a tuple of them."""

Function = Callable[..., torch.Tensor]


def of_x(function: Function) -> Op:
    """Return an operation of one input, MIL's `x`, from a function that calls it otherwise."""

    def operation(x: torch.Tensor) -> torch.Tensor:
        return function(x)

    return operation


def of_xy(function: Function) -> Op:
    """Return an operation of two inputs, MIL's `x` and `y`."""

    def operation(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return function(x, y)

    return operation
