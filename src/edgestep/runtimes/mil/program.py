"""The protobuf of an ML Program -> operations with what they read and make, constants among them.

Names are resolved by the evaluator; here a binding is a name or a constant.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch

from edgestep.artifact import BadInput
from edgestep.runtimes.mil.blobs import Blobs
from edgestep.runtimes.mil.types import DATA_TYPES, STRING, DataType, tensor_from_numpy, unpacked

Constant = torch.Tensor | str | list
"""A tensor, a string, or a list of either."""


@dataclass(frozen=True)
class Typed:
    """A value's name, type (None for strings and lists), shape, -1 where it is open, and whether it is a state."""

    name: str
    data_type: DataType | None
    shape: tuple[int, ...]
    state: bool = False


@dataclass(frozen=True)
class Name:
    """A binding to a value made elsewhere."""

    name: str


Binding = Name | Constant


@dataclass(frozen=True, eq=False)
class Operation:
    """One operation. An input bound to several values (`concat`'s) is a tuple, also to one of them where it is a list.

    `location` is the name of its first output: what Core ML's tools call an operation by.
    """

    type: str
    inputs: Mapping[str, Binding | tuple[Binding, ...]]
    outputs: tuple[Typed, ...]
    blocks: tuple["Block", ...] = ()

    @cached_property
    def names_read(self) -> tuple[str, ...]:
        """Return the names of what it reads itself, constants among them, those of nested blocks apart."""
        bound = [one for given in self.inputs.values() for one in (given if isinstance(given, tuple) else (given,))]
        return tuple(one.name for one in bound if isinstance(one, Name))

    @cached_property
    def all_names_read(self) -> tuple[str, ...]:
        """Return `names_read`, and what its nested blocks read."""
        return (*self.names_read, *(name for block in self.blocks for name in block.names_read))

    @property
    def location(self) -> str:
        """Return the name of the first output."""
        return printable(self.outputs[0].name) if self.outputs else "(no output)"


@dataclass(frozen=True, eq=False)
class Block:
    """Operations in order, the inputs of a nested block, and the names of what it gives."""

    inputs: tuple[Typed, ...]
    operations: tuple[Operation, ...]
    outputs: tuple[str, ...]
    constants: Mapping[str, Constant] = field(default_factory=dict)

    @cached_property
    def names_read(self) -> tuple[str, ...]:
        """Return what its operations read, of its own and from outside of it, and what it gives."""
        return (*(name for operation in self.operations for name in operation.all_names_read), *self.outputs)


@dataclass(frozen=True, eq=False)
class Function:
    """A function of a program: its inputs, its one block, and its opset (CoreML5 is iOS 15, CoreML8 iOS 18)."""

    name: str
    opset: str
    inputs: tuple[Typed, ...]
    body: Block


def printable(name: str) -> str:
    """Return it as one line of text: a damaged file's names may be anything."""
    return name if name.isprintable() else repr(name)


def function_from_proto(program: Any, name: str, blobs: Blobs) -> Function:
    """Return one function of a MIL_pb2.Program; raise BadInput where it is not there or a constant cannot be read."""
    if name not in program.functions:
        names = ", ".join(sorted(program.functions))
        raise BadInput(f"got function {name!r}; expected one of {names}; choose one of these")
    function = program.functions[name]
    blocks = function.block_specializations
    if function.opset not in blocks:
        raise BadInput(f"got no block of opset {function.opset} in function {name}; expected one; convert it again")
    inputs = tuple(_typed(spec) for spec in function.inputs)
    return Function(name, function.opset, inputs, _block(blocks[function.opset], blobs))


def _block(block: Any, blobs: Blobs) -> Block:
    operations: list[Operation] = []
    constants: dict[str, Constant] = {}
    for operation in block.operations:
        if operation.type == "const":
            constants[operation.outputs[0].name] = _constant(operation.attributes["val"], blobs)
        else:
            operations.append(_operation(operation, blobs))
    inputs = tuple(_typed(spec) for spec in block.inputs)
    return Block(inputs, tuple(operations), tuple(block.outputs), constants)


def _operation(operation: Any, blobs: Blobs) -> Operation:
    inputs: dict[str, Binding | tuple[Binding, ...]] = {}
    for name, argument in operation.inputs.items():
        bindings = tuple(_binding(binding, blobs) for binding in argument.arguments)
        inputs[name] = bindings[0] if len(bindings) == 1 else bindings
    for name in operation.attributes:  # what iOS 15 and 16 keep of constexpr_* beside its output
        if name != "name" and name not in inputs:
            inputs[name] = _constant(operation.attributes[name], blobs)
    outputs = tuple(_typed(spec) for spec in operation.outputs)
    return Operation(operation.type, inputs, outputs, tuple(_block(block, blobs) for block in operation.blocks))


def _binding(binding: Any, blobs: Blobs) -> Binding:
    return Name(binding.name) if binding.WhichOneof("binding") == "name" else _constant(binding.value, blobs)


def _typed(spec: Any) -> Typed:
    kind = spec.type.WhichOneof("type")
    tensor = spec.type.tensorType if kind == "tensorType" else None
    if kind == "stateType":
        tensor = spec.type.stateType.wrappedType.tensorType
    if tensor is None or tensor.dataType == STRING:
        return Typed(spec.name, None, ())
    return Typed(spec.name, _data_type(tensor.dataType, spec.name), _shape(tensor), kind == "stateType")


def _data_type(number: int, where: str) -> DataType:
    if number not in DATA_TYPES:
        raise BadInput(f"got MIL data type {number} at {where}; expected one of {', '.join(_known())}; convert it anew")
    return DATA_TYPES[number]


def _known() -> Iterator[str]:
    return (data_type.name for data_type in DATA_TYPES.values())


def _shape(tensor: Any) -> tuple[int, ...]:
    sizes = tensor.dimensions
    return tuple(s.constant.size if s.WhichOneof("dimension") == "constant" else -1 for s in sizes)


def _constant(value: Any, blobs: Blobs) -> Constant:
    kind = value.type.WhichOneof("type")
    if kind == "listType":
        return [_constant(item, blobs) for item in value.immediateValue.list.values]
    if kind != "tensorType":
        raise BadInput(f"got a constant of MIL's {kind}; expected a tensor, string or list; report it")
    tensor = value.type.tensorType
    if value.WhichOneof("value") == "blobFileValue":
        data_type = _data_type(tensor.dataType, value.blobFileValue.fileName)
        blob = value.blobFileValue
        array = blobs.read(blob.fileName, blob.offset, data_type, _shape(tensor))
        return tensor_from_numpy(array, data_type)
    return _immediate(value.immediateValue.tensor, tensor)


def _immediate(values: Any, tensor: Any) -> Constant:
    kind = values.WhichOneof("value")
    if tensor.dataType == STRING:
        strings = list(values.strings.values)
        if tensor.dimensions:
            return strings
        return strings[0] if strings else ""
    data_type, shape = _data_type(tensor.dataType, "a constant"), _shape(tensor)
    if kind is None:
        return torch.zeros(shape, dtype=data_type.held)
    held = getattr(values, kind).values
    if kind == "bytes":
        raw = np.frombuffer(held, np.uint8)
        count = math.prod(shape)
        array = raw.view(data_type.file) if data_type.file else unpacked(raw, data_type, count)
    else:
        array = np.array(held)
    if array.size != math.prod(shape):
        raise BadInput(
            f"got a constant of {array.size} numbers; expected the shape {list(shape)}; copy the package anew"
        )
    return tensor_from_numpy(array.reshape(shape), data_type)
