"""An ONNX graph -> its weights: the constants that convolutions, linears and embeddings read, one at a time.

A model's weights may be larger than memory: those beside the .onnx file are mapped, and read when they are asked for.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgestep.artifact import BadInput, inside
from edgestep.quantize.widths import Width, block_of, bytes_of

OPERATIONS: Mapping[str, tuple[int, ...]] = {
    "Conv": (1,),
    "ConvTranspose": (1,),
    "MatMul": (1,),
    "Gemm": (1,),
    "Gather": (0,),
}
"""Operation -> the input that is its weight."""
FEWEST = 1024
"""Elements; the nodes and names around a smaller weight cost as much as its bits save."""
FLOATS = {1: np.dtype("<f4"), 10: np.dtype("<f2")}
"""ONNX data type -> numpy's, of weights that can be quantized."""


@dataclass(frozen=True)
class Weight:
    """One constant of a graph that a layer multiplies with: `layer` is the node's name, `operation` its type.

    `axis` is the one of the inputs: 1 in [O, I, kh, kw] and in the rows of an embedding, 0 in the [I, O] of a MatMul.
    `data_type` is ONNX's. `groups` of a convolution, `node` is the layer's place in the graph.
    """

    layer: str
    name: str
    operation: str
    shape: tuple[int, ...]
    axis: int
    data_type: int
    node: int
    groups: int = 1

    @property
    def columns(self) -> int:
        """Numbers of one output channel."""
        return math.prod(self.shape) // self.shape[1 - self.axis]

    def matrix(self, values: np.ndarray) -> np.ndarray:
        """Return [outputs, columns] of the weight as it lies in the graph."""
        turned = values if self.axis == 1 else values.swapaxes(0, 1)
        return turned.reshape(turned.shape[0], -1)

    def block(self, width: Width) -> int:
        """Return how many columns share a scale."""
        return block_of(self.shape, width, self.axis)

    def bytes(self, width: Width) -> int:
        """Return the bytes of numbers and scales."""
        return bytes_of(self.shape, width, self.axis)


def weights_of(model: Any, fewest: int = FEWEST) -> tuple[Weight, ...]:
    """Return the weights of a ModelProto, of `fewest` numbers or more, in the order in which the graph reads them, each
    once."""
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    outputs = {value.name for value in model.graph.output}
    readers: dict[str, list[tuple[int, Any, int]]] = {}
    for place, node in enumerate(model.graph.node):
        for i, name in enumerate(node.input):
            if name in tensors:
                readers.setdefault(name, []).append((place, node, i))
    found = (
        _weight(tensors[name], read)
        for name, read in readers.items()
        if name not in outputs and _may_be(tensors[name], fewest)
    )
    return tuple(weight for weight in found if weight is not None)


def _may_be(tensor: Any, fewest: int) -> bool:
    return tensor.data_type in FLOATS and len(tensor.dims) >= 2 and math.prod(tensor.dims) >= fewest


def _weight(tensor: Any, readers: Sequence[tuple[int, Any, int]]) -> Weight | None:
    """Return the weight, None where any of its readers does something else with it."""
    axes = {_axis(node, i, len(tensor.dims)) for _, node, i in readers}
    if len(axes) != 1 or None in axes:
        return None
    place, node, _ = readers[0]
    groups = next((a.i for a in node.attribute if a.name == "group"), 1)
    axis = axes.pop()
    return Weight(
        node.name, tensor.name, node.op_type, tuple(tensor.dims), int(axis or 0), tensor.data_type, place, int(groups)
    )


def _axis(node: Any, i: int, rank: int) -> int | None:
    """Return the axis of the inputs, None where that input is no weight."""
    attributes = {a.name: a.i for a in node.attribute}
    if node.domain not in ("", "ai.onnx") or i not in OPERATIONS.get(node.op_type, ()):
        return None
    if node.op_type == "Conv":
        return 1
    if node.op_type == "ConvTranspose":
        return 0
    if rank != 2:
        return None
    if node.op_type == "Gather":
        return 1 if attributes.get("axis", 0) == 0 else None
    return 1 if node.op_type == "Gemm" and attributes.get("transB", 0) else 0


class Initializers:
    """The constants of a model whose .onnx file is `source`, by name; mapped where they lie beside it."""

    def __init__(self, source: Path, model: Any, divided_by: Mapping[str, np.ndarray] | None = None) -> None:
        self._folder, self._divided_by = source.parent, divided_by or {}
        self._tensors = {tensor.name: tensor for tensor in model.graph.initializer}

    def __contains__(self, name: str) -> bool:
        return name in self._tensors

    def tensor(self, name: str) -> Any:
        """Return the TensorProto, without its numbers where these lie beside the file."""
        return self._tensors[name]

    def array(self, name: str) -> np.ndarray:
        """Return the numbers, divided where that was asked for; raise BadInput where their file is missing, too short,
        or outside the folder."""
        values = self._array(name)
        if name not in self._divided_by:
            return values
        return (values / self._divided_by[name]).astype(values.dtype)

    def _array(self, name: str) -> np.ndarray:
        tensor = self._tensors[name]
        if not is_external(tensor):
            from onnx import numpy_helper

            return numpy_helper.to_array(tensor)
        entries = {entry.key: entry.value for entry in tensor.external_data}
        path = inside(self._folder, entries["location"])
        dtype, shape = _dtype(tensor), tuple(tensor.dims)
        offset = int(entries.get("offset", 0))
        try:
            return np.memmap(path, dtype=dtype, mode="r", offset=offset, shape=shape)
        except (OSError, ValueError) as error:
            raise BadInput(
                f"got {path}, which does not hold {name} ({error}); expected the weights of {self._folder}; export the "
                "artifact again"
            ) from error


def _dtype(tensor: Any) -> np.dtype:
    from onnx import helper

    return helper.tensor_dtype_to_np_dtype(tensor.data_type)


def is_external(tensor: Any) -> bool:
    """Tell whether the numbers lie beside the .onnx file."""
    return tensor.data_location == 1
