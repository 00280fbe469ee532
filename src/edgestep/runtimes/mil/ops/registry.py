"""MIL operation -> function of torch tensors.

A function takes MIL's inputs by their names, those that a program leaves out by MIL's defaults, and returns a tensor,
or a tuple of them. All floats are float32; the interpreter rounds and converts what comes out to the type that the
program declares. Constants come as tensors: `edgestep.runtimes.mil.arguments` makes numbers of them.
"""

from collections.abc import Callable
from typing import Any

Op = Callable[..., Any]

OPS: dict[str, Op] = {}
"""MIL's name of an operation -> function."""

BLOCK_OPS: dict[str, Op] = {}
"""Operations with blocks inside: called with (run_block, blocks, **inputs), where run_block(block, inputs) runs one."""

MOVES: frozenset[str] = frozenset()
"""Operations that only move numbers: what they give needs no rounding."""

RANDOM: frozenset[str] = frozenset()
"""Operations that give something else each time, or keep a state: never computed in advance."""
