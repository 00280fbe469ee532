"""A block of a program -> its operations as steps, what each reads and weighs, and what is alive between them.

Constants, and the constexpr operations that unpack them, are no steps: whoever needs one gets a copy.
"""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from edgestep.export.coreml.package import blobs_of
from edgestep.export.coreml.weight_file import WeightSource

BYTES = {10: 2, 11: 4, 23: 4}
"""MIL's data type -> bytes of one, for the types that models hand to each other: float16, float32, int32."""
RANKS = range(1, 6)
"""Ranks of a Core ML array."""


@dataclass(frozen=True, eq=False)
class Flow:
    """`steps`: operations in order. `constants`: name -> the operation that makes it, in order. `outputs`: names."""

    steps: tuple[Any, ...]
    constants: dict[str, Any]
    outputs: tuple[str, ...]
    weights: WeightSource

    @cached_property
    def made_at(self) -> dict[str, int]:
        """Return name -> the step that makes it."""
        return {output.name: i for i, step in enumerate(self.steps) for output in step.outputs}

    @cached_property
    def last_read(self) -> dict[str, int]:
        """Return name of what a step makes -> the last step that reads it; what the block gives is read at the end."""
        read = {name: i for i, step in enumerate(self.steps) for name in names_read(step) if name in self.made_at}
        return read | {name: len(self.steps) for name in self.outputs if name in self.made_at}

    @cached_property
    def typed(self) -> dict[str, Any]:
        """Return name of what a step makes -> its NamedValueType."""
        return {output.name: output for step in self.steps for output in step.outputs}

    def alive(self, at: int) -> list[str]:
        """Return what is made before step `at` and read from there on, in the order in which it is made."""
        return [name for name, i in self.made_at.items() if i < at <= self.last_read.get(name, -1)]

    def crossing_bytes(self) -> np.ndarray:
        """Return for every place between steps, 0 to n, the bytes that are alive; -1 where a cut cannot carry them."""
        crossing = np.zeros((2, len(self.steps) + 2), np.int64)
        for name, made in self.made_at.items():
            size = _bytes(self.typed[name])
            if name in self.last_read:
                change = (0, size) if size is not None else (1, 1)
                crossing[change[0], made + 1] += change[1]
                crossing[change[0], self.last_read[name] + 1] -= change[1]
        size, barred = np.cumsum(crossing, axis=1)[:, : len(self.steps) + 1]
        return np.where(barred > 0, -1, size)

    def blobs(self, first: int, end: int) -> dict[int, int]:
        """Return offset -> bytes of the weights that steps `first` to `end` - 1 need."""
        own = [*self.steps[first:end], *(self.constants[name] for name in self.constants_of(self.steps[first:end]))]
        return {blob.offset: self.weights.size(blob.offset) for blob in blobs_of(own)}

    def weight_before(self) -> np.ndarray:
        """Return for every place, 0 to n, the bytes of weights that the steps before it need."""
        seen: dict[int, int] = {}
        before = np.zeros(len(self.steps) + 1, np.int64)
        for i in range(len(self.steps)):
            fresh = {offset: size for offset, size in self.blobs(i, i + 1).items() if offset not in seen}
            seen |= fresh
            before[i + 1] = before[i] + sum(fresh.values())
        return before

    def constants_of(self, steps: Iterable[Any], names: Iterable[str] = ()) -> Collection[str]:
        """Return the constants that operations need, and those among `names`, with what they are made of."""
        found: dict[str, None] = {}
        wanted = [*names, *(name for step in steps for name in names_read(step))]
        while wanted:
            name = wanted.pop()
            if name in self.constants and name not in found:
                found[name] = None
                wanted += names_read(self.constants[name])
        return found.keys()


def flow_of(block: Any, weights: WeightSource) -> Flow:
    """Return the flow of a MIL_pb2.Block."""
    constants: dict[str, Any] = {}
    steps = []
    for operation in block.operations:
        fixed = operation.type == "const" or operation.type.startswith("constexpr_")
        if fixed and all(name in constants for name in names_read(operation)):
            constants |= {output.name: operation for output in operation.outputs}
        else:
            steps.append(operation)
    return Flow(tuple(steps), constants, tuple(block.outputs), weights)


def names_read(operation: Any) -> list[str]:
    """Return the names that an operation reads, the blocks inside it too."""
    return list(_names(operation))


def _names(operation: Any) -> Iterator[str]:
    for argument in operation.inputs.values():
        yield from (one.name for one in argument.arguments if one.WhichOneof("binding") == "name")
    for block in operation.blocks:
        for nested in block.operations:
            yield from _names(nested)
        yield from block.outputs


def _bytes(typed: Any) -> int | None:
    """Return the bytes of a value, None where it cannot be an array that one model hands to another."""
    if typed.type.WhichOneof("type") != "tensorType":
        return None
    tensor = typed.type.tensorType
    sizes = [d.constant.size for d in tensor.dimensions if d.WhichOneof("dimension") == "constant"]
    if tensor.dataType not in BYTES or len(sizes) != len(tensor.dimensions) or len(sizes) not in RANKS:
        return None
    return int(np.prod(sizes)) * BYTES[tensor.dataType]
