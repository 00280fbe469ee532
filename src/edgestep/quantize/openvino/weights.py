"""An OpenVINO model -> its weights: the constants that convolutions, linears and embeddings read."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgestep.quantize.widths import Width, block_of, bytes_of

OPERATIONS: Mapping[str, int] = {
    "Convolution": 1,
    "ConvolutionBackpropData": 1,
    "GroupConvolution": 1,
    "MatMul": 1,
    "Gather": 0,
}
"""Operation -> the input that is its weight."""
FEWEST = 1024
"""Elements; the nodes and names around a smaller weight cost as much as its bits save."""


@dataclass(frozen=True)
class Weight:
    """One constant that a layer multiplies with: `layer` is the name of the operation, `operation` its type.

    `lies` is its shape in the graph, [O, I, kh, kw], [I, O] or [G, O, I, kh, kw]; `shape` the same with the groups
    among the outputs. `axis` is the one of the inputs in `shape`.
    """

    layer: str
    operation: str
    lies: tuple[int, ...]
    axis: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the shape without an axis for groups."""
        if self.operation != "GroupConvolution":
            return self.lies
        return (self.lies[0] * self.lies[1], *self.lies[2:])

    def matrix(self, values: np.ndarray) -> np.ndarray:
        """Return float32 [outputs, columns] of the weight as it lies in the graph."""
        values = values.reshape(self.shape).astype(np.float32, copy=False)
        turned = values if self.axis == 1 else values.swapaxes(0, 1)
        return np.ascontiguousarray(turned.reshape(turned.shape[0], -1))

    def as_lying(self, matrix: np.ndarray) -> np.ndarray:
        """[outputs, columns] -> `shape`."""
        if self.axis == 1:
            return matrix.reshape(self.shape)
        turned = (self.shape[1], self.shape[0], *self.shape[2:])
        return np.ascontiguousarray(matrix.reshape(turned).swapaxes(0, 1))

    def block(self, width: Width) -> int:
        """Return how many columns share a scale."""
        return block_of(self.shape, width, self.axis)

    def bytes(self, width: Width) -> int:
        """Return the bytes of numbers and scales."""
        return bytes_of(self.shape, width, self.axis)


def weights_of(model: Any) -> dict[str, Weight]:
    """Return layer -> its weight, in the order in which the graph reads them.

    A constant that several operations read is left out: so is one that is small, or not float.
    """
    found = {}
    for op in model.get_ordered_ops():
        weight = _weight(op)
        if weight is not None:
            found[weight.layer] = weight
    return found


def constant_of(op: Any) -> Any:
    """Return the Constant that an operation's weight comes from, through a Convert from float16; None for others."""
    source = op.input_value(OPERATIONS[op.get_type_name()]).get_node()
    if source.get_type_name() == "Convert":
        source = source.input_value(0).get_node()
    return source if source.get_type_name() == "Constant" else None


def _weight(op: Any) -> Weight | None:
    kind = op.get_type_name()
    constant = constant_of(op) if kind in OPERATIONS else None
    if constant is None or len(constant.output(0).get_target_inputs()) != 1:
        return None
    lies = tuple(constant.get_output_shape(0))
    axis = _axis(op, kind, len(lies))
    is_float = constant.get_element_type().to_string() in ("f32", "f16")
    if axis is None or math.prod(lies) < FEWEST or not is_float:
        return None
    return Weight(op.get_friendly_name(), kind, lies, axis)


def _axis(op: Any, kind: str, rank: int) -> int | None:
    """Return the axis of the inputs, None where that constant is no weight."""
    if kind in ("Convolution", "GroupConvolution"):
        return 1
    if kind == "ConvolutionBackpropData":
        return 0
    if rank != 2:
        return None
    if kind == "Gather":
        axis = op.input_value(2).get_node()
        return 1 if axis.get_type_name() == "Constant" and axis.get_data().item() == 0 else None
    return 1 if op.get_attributes()["transpose_b"] else 0
