"""Choices, loops and lists. A list is a Python list, None where nothing of a known shape was written."""

from collections.abc import Callable, Sequence
from typing import Any

import torch

from edgestep.runtimes.mil.arguments import Value, flag, integer, ints, several
from edgestep.runtimes.mil.ops.families import Op
from edgestep.runtimes.mil.types import NAMES

RunBlock = Callable[[Any, Sequence[Value]], list[Value]]
"""Runs one nested block with its inputs and returns its outputs."""
Elements = list[torch.Tensor | None]


def cond(run_block: RunBlock, blocks: Sequence[Any], pred: Value) -> tuple[Value, ...]:
    """Return what the first block gives where `pred` is true, else the second; neither takes an input."""
    return tuple(run_block(blocks[0 if flag(pred) else 1], ()))


def while_loop(run_block: RunBlock, blocks: Sequence[Any], loop_vars: Value) -> tuple[Value, ...]:
    """Return `loop_vars` after the second block has replaced them as long as the first gives true."""
    values = several(loop_vars)
    while flag(run_block(blocks[0], values)[0]):
        values = run_block(blocks[1], values)
    return tuple(values)


def select(cond: torch.Tensor, a: torch.Tensor | None = None, b: torch.Tensor | None = None) -> torch.Tensor:
    """Return a where `cond`, else b; without them where `cond` is true, int32 [n, rank]."""
    return torch.nonzero(cond) if a is None or b is None else torch.where(cond, a, b)


def make_list(
    elem_shape: Value, init_length: Value | int = 1, dynamic_length: Value | bool = True, dtype: str = "fp32"
) -> Elements:
    """Return a list of zeros of that shape; of None where a size is a name, known only later."""
    del dynamic_length  # a list that may not grow comes from a converter that does not write beyond it
    sizes = several(elem_shape)
    if any(isinstance(size, str) for size in sizes):
        return [None] * integer(init_length)
    shape = [number for size in sizes if isinstance(size, torch.Tensor) for number in ints(size)]
    return [torch.zeros(shape, dtype=NAMES[dtype].held) for _ in range(integer(init_length))]


def list_length(ls: Elements) -> torch.Tensor:
    """Return its length, int32."""
    return torch.tensor(len(ls), dtype=torch.int32)


def list_read(ls: Elements, index: Value) -> torch.Tensor:
    """Return one element."""
    return _element(ls, integer(index))


def list_gather(ls: Elements, indices: torch.Tensor) -> torch.Tensor:
    """Return elements side by side, [len(indices), ...]."""
    return torch.stack([_element(ls, index) for index in ints(indices)])


def list_write(ls: Elements, index: Value, value: torch.Tensor) -> Elements:
    """Return a list with `value` at `index`, longer where that lies beyond it."""
    return _with(ls, [integer(index)], [value])


def list_scatter(ls: Elements, indices: torch.Tensor, value: torch.Tensor) -> Elements:
    """Return a list with value[i] at indices[i], longer where one lies beyond it."""
    return _with(ls, ints(indices), list(value))


def _element(ls: Elements, index: int) -> torch.Tensor:
    element = ls[index] if 0 <= index < len(ls) else None
    if element is None:
        raise IndexError(f"element {index} of a list of {len(ls)}, which nothing was written to")
    return element


def _with(ls: Elements, indices: list[int], values: list[torch.Tensor]) -> Elements:
    if min(indices, default=0) < 0:
        raise IndexError(f"element {min(indices)}")
    blank = torch.zeros_like(values[0]) if values else None
    made = ls + [blank] * (max(indices, default=0) + 1 - len(ls))
    for index, value in zip(indices, values, strict=True):
        made[index] = value
    return made


OPS: dict[str, Op] = {
    "list_gather": list_gather,
    "list_length": list_length,
    "list_read": list_read,
    "list_scatter": list_scatter,
    "list_write": list_write,
    "make_list": make_list,
    "select": select,
}

BLOCK_OPS: dict[str, Op] = {"cond": cond, "while_loop": while_loop}

MOVES = frozenset(["cond", "list_gather", "list_read", "select", "while_loop"])
