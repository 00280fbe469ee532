"""MIL operation -> function of torch tensors.

A function takes MIL's inputs by their names, those that a program leaves out by MIL's defaults, and returns a tensor,
or a tuple of them. All floats are float32; the interpreter rounds and converts what comes out to the type that the
program declares. Constants come as tensors: `edgestep.runtimes.mil.arguments` makes numbers of them.
"""

from types import ModuleType

from edgestep.runtimes.mil.ops import (
    activation,
    attention,
    classify,
    constexpr,
    control_flow,
    convolution,
    elementwise_binary,
    elementwise_unary,
    linear,
    normalization,
    pooling,
    quantization,
    random,
    recurrent,
    reduction,
    resizing,
    scatter_gather,
    states,
    tensor_operation,
    tensor_transformation,
)
from edgestep.runtimes.mil.ops.families import Op

FAMILIES: tuple[ModuleType, ...] = (
    activation,
    attention,
    classify,
    constexpr,
    control_flow,
    convolution,
    elementwise_binary,
    elementwise_unary,
    linear,
    normalization,
    pooling,
    quantization,
    random,
    recurrent,
    reduction,
    resizing,
    scatter_gather,
    states,
    tensor_operation,
    tensor_transformation,
)
"""One file each: `OPS`, and `MOVES` and `RANDOM` where it has such operations."""

OPS: dict[str, Op] = {name: op for family in FAMILIES for name, op in family.OPS.items()}
"""MIL's name of an operation -> function."""

BLOCK_OPS: dict[str, Op] = control_flow.BLOCK_OPS
"""Operations with blocks inside: called with (run_block, blocks, **inputs), where run_block(block, inputs) runs one."""

MOVES: frozenset[str] = frozenset(name for family in FAMILIES for name in getattr(family, "MOVES", ()))
"""Operations that only move numbers: what they give needs no rounding."""

RANDOM: frozenset[str] = frozenset(name for family in FAMILIES for name in getattr(family, "RANDOM", ()))
"""Operations that give something else each time, or keep a state: never computed in advance."""
