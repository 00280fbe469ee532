"""MIL arguments -> Python's numbers: sizes, axes and flags come as tensors, as every constant does."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from edgestep.artifact import BadInput


@dataclass(eq=False)
class State:
    """What a stateful program keeps between runs: read and written by operations, by reference."""

    value: torch.Tensor


Value = torch.Tensor | str | list | State
"""What an operation takes and gives: a tensor, a string, a list (MIL's list type, or a variadic input), a state."""


def ints(value: torch.Tensor | Sequence) -> list[int]:
    """Return [1, 2] of an int tensor of rank 1, [1] of a scalar."""
    if isinstance(value, torch.Tensor):
        return [int(v) for v in value.reshape(-1).tolist()]
    return [int(v) for v in value]


def integer(value: torch.Tensor | int) -> int:
    """Return the int of a tensor of one element."""
    return int(value)


def number(value: torch.Tensor | float) -> float:
    """Return the float of a tensor of one element."""
    return float(value)


def flag(value: torch.Tensor | bool) -> bool:
    """Return the bool of a tensor of one element."""
    return bool(value)


def flags(value: torch.Tensor | Sequence) -> list[bool]:
    """Return [True, False] of a bool tensor of rank 1."""
    return [bool(v) for v in (value.reshape(-1).tolist() if isinstance(value, torch.Tensor) else value)]


def several(values: Value | tuple[Value, ...]) -> list[Value]:
    """Return a variadic input as a list, also where one value alone is bound to it."""
    return list(values) if isinstance(values, tuple | list) else [values]


def one_of(name: str, value: str, known: Sequence[str]) -> str:
    """Return the string; raise BadInput where it is none of those that MIL has."""
    if value not in known:
        raise BadInput(f"got {name} {value!r}; expected one of {', '.join(known)}; convert the model again")
    return value
