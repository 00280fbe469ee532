"""A .mlpackage read without edgestep: its description, and each operation with the type that it gives."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TYPES = {10: "float16", 11: "float32", 23: "int32"}
"""MIL's DataType -> name, of those that a test looks at."""


@dataclass(frozen=True)
class Op:
    """One operation: its type, the name of its output, and that output's type."""

    type: str
    name: str
    dtype: str


def spec_of(path: Path) -> Any:
    import coremltools

    return coremltools.utils.load_spec(str(path))


def operations(path: Path) -> list[Op]:
    """Return the operations of the main function, without constants."""
    (block,) = spec_of(path).mlProgram.functions["main"].block_specializations.values()
    found = []
    for operation in block.operations:
        if operation.type != "const":
            out = operation.outputs[0]
            kind = out.type.tensorType.dataType
            found.append(Op(operation.type, out.name, TYPES.get(kind, str(kind))))
    return found


def counted(path: Path) -> Counter[str]:
    return Counter(op.type for op in operations(path))


def in_float32(path: Path) -> set[str]:
    """Return the types and names of what computes in float32; a cast from or to it computes nothing."""
    return {f"{op.type} {op.name}" for op in operations(path) if op.dtype == "float32" and op.type != "cast"}
