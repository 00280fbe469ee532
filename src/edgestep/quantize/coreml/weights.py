"""The protobuf of an ML Program -> its weights: the large constants that convolutions, linears and embeddings read.

coremltools names a constant after the module that it came from, with underscores for dots:
`p_unet_down_blocks_0_resnets_0_conv1_weight_to_fp16`. A constant that it computed itself has no such name.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgestep.artifact import BadInput
from edgestep.quantize.floats import UNNAMED, Quantized, StaysFloat

OPERATIONS: Mapping[str, str] = {
    "conv": "weight",
    "conv_transpose": "weight",
    "linear": "weight",
    "matmul": "y",
    "gather": "x",
}
"""MIL operation -> the input that is its weight."""
FEWEST = 2048
"""Elements; a smaller weight saves nothing, and its scales and tables cost more than its rounding."""
FLOATS = {10: "<f2", 11: "<f4"}
"""MIL data type -> numpy dtype of a float in a weight file."""
NOT_FINITE = "holds infinity or NaN, which no table of 2^n numbers can"
NAMED = re.compile(r"^p_(?P<module>.+?)_weight(_to_fp16|_to_fp32)?(_\d+)?$")


@dataclass(frozen=True, eq=False)
class Weight:
    """One constant: its name in the program, the module that it is of ("" where it has lost its name), its numbers
    (float16 or float32, a view of the file), and the operations that read it: (type, name of the first output).
    """

    name: str
    module: str
    values: np.ndarray
    readers: tuple[tuple[str, str], ...]


def weights_of(spec: Any, weight_file: Path) -> tuple[Weight, ...]:
    """Return the weights of an ML Program in the order in which it names them; `spec` is its Model_pb2.Model.

    Raises BadInput for several functions: coremltools compresses none of them.
    """
    functions = list(spec.mlProgram.functions.values())
    if len(functions) != 1:
        raise BadInput(
            f"got {len(functions)} functions in {weight_file.parents[3].name}; expected one, as coremltools compresses "
            "no other; export each size by itself, without --also-size"
        )
    block = functions[0].block_specializations[functions[0].opset]
    readers = _readers(block)
    return tuple(
        Weight(operation.outputs[0].name, module_of(operation.outputs[0].name), values, tuple(read))
        for operation in block.operations
        if operation.type == "const"
        and (read := readers.get(operation.outputs[0].name))
        and (values := _values(operation.attributes["val"], weight_file)) is not None
    )


def module_of(name: str) -> str:
    """Return the module of a constant's name, its dots still underscores; "" for none: p_unet_conv_in_weight."""
    found = NAMED.match(name)
    return found["module"] if found else ""


def parted(weights: Sequence[Weight], table: Sequence[StaysFloat]) -> Quantized:
    """Part the weights by the table; what has no name, or is not finite, stays float."""
    reasons = {weight.name: _reason(weight, table) for weight in weights}
    floats = {name: reason for name, reason in reasons.items() if reason}
    shown = {name: shown_module(name) or name for name in reasons}
    return Quantized(
        tuple(name for name in reasons if name not in floats), {shown[name]: why for name, why in floats.items()}
    )


def shown_module(name: str) -> str:
    """Return the module of a constant's name with the dots that can be known, around numbers: unet_down_blocks.0.x."""
    return re.sub(r"(\.\d+)_", r"\1.", re.sub(r"(?<!encoder)_(\d+)(?=_|$)", r".\1", module_of(name)))


def fits(row: StaysFloat, module: str) -> bool:
    """Tell whether a row, which is written for dotted paths, is of a module whose dots are underscores."""
    return re.search(row.pattern.replace(r"\.", "[._]"), module.replace(".", "_")) is not None


def _reason(weight: Weight, table: Sequence[StaysFloat]) -> str:
    if not np.isfinite(weight.values).all():
        return NOT_FINITE
    if not weight.module:
        return UNNAMED
    return next((row.reason for row in table if fits(row, weight.module)), "")


def _readers(block: Any) -> dict[str, list[tuple[str, str]]]:
    """Return constant -> the operations that read it as their weight; what others read too is left out."""
    found: dict[str, list[tuple[str, str]]] = defaultdict(list)
    others: set[str] = set(block.outputs)
    for operation in block.operations:
        for name, read in _inputs(operation):
            if OPERATIONS.get(operation.type) == name:
                found[read].append((operation.type, operation.outputs[0].name))
            else:
                others.add(read)
    return {name: read for name, read in found.items() if name not in others}


def _inputs(operation: Any) -> Iterator[tuple[str, str]]:
    for name, argument in operation.inputs.items():
        for binding in argument.arguments:
            if binding.WhichOneof("binding") == "name":
                yield name, binding.name


def _values(value: Any, weight_file: Path) -> np.ndarray | None:
    """Return a constant's numbers where it is a float array of the weight file, large enough and of two axes or more.

    In the file 64 bytes stand before an array: sentinel, type, size in bytes, offset of the data.
    """
    tensor = value.type.tensorType
    shape = tuple(size.constant.size for size in tensor.dimensions)
    if value.WhichOneof("value") != "blobFileValue" or tensor.dataType not in FLOATS:
        return None
    if len(shape) < 2 or np.prod(shape) < FEWEST:
        return None
    offset = np.memmap(weight_file, "<u8", "r", value.blobFileValue.offset, (4,))[2]
    return np.memmap(weight_file, FLOATS[tensor.dataType], "r", int(offset), shape)
