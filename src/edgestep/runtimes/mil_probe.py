"""A Core ML .mlpackage -> Probe on the evaluator: values are read where they are made, or fed in their place.

Operations are named by location: an ML Program knows no modules. Their types are in the exporters' words.
"""

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgestep.runtimes.mil_evaluator import MilEvaluator
from edgestep.runtimes.probe import Arrays, GraphNode, GraphView

if TYPE_CHECKING:
    from edgestep.runtimes.mil.program import Operation

FED = "/reference"
"""After a value's name: what is read in its place."""
WORDS = {
    "cast": "Cast",
    "quantize": "QuantizeLinear",
    "dequantize": "DequantizeLinear",
    "conv": "Conv",
    "conv_transpose": "ConvTranspose",
    "linear": "MatMul",
    "matmul": "MatMul",
    "einsum": "Einsum",
    "layer_norm": "LayerNormalization",
    "instance_norm": "InstanceNormalization",
    "batch_norm": "BatchNormalization",
    "softmax": "Softmax",
    "scaled_dot_product_attention": "Attention",
    "gelu": "Gelu",
    "silu": "Swish",
    "sigmoid": "Sigmoid",
    "tanh": "Tanh",
    "gather": "Gather",
    "reshape": "Reshape",
    "transpose": "Transpose",
    "squeeze": "Squeeze",
    "expand_dims": "Unsqueeze",
    "split": "Split",
    "slice_by_index": "Slice",
    "slice_by_size": "Slice",
    "concat": "Concat",
    "identity": "Identity",
    "upsample_nearest_neighbor": "Resize",
    "add": "Add",
    "sub": "Sub",
    "mul": "Mul",
    "real_div": "Div",
    "sqrt": "Sqrt",
}
"""MIL's operation -> the word that the other formats have for it; another keeps MIL's, without underscores."""


class MilProbe:
    """A .mlpackage to look into, float16 rounded as its program declares; BadInput as MilEvaluator."""

    view: GraphView

    def __init__(self, file: Path, *, threads: int | None = None) -> None:
        self._session = MilEvaluator(file, threads=threads)
        self.view = _view(self._session)

    def exposed(self, values: Sequence[str]) -> Callable[[Arrays], dict[str, np.ndarray]]:
        """Return what runs the graph and returns these values."""
        return lambda feeds: _arrays(self._session.values(feeds, values))

    def cut(self, values: Sequence[str]) -> Callable[[Arrays, Arrays], dict[str, np.ndarray]]:
        """Return what runs every piece between these values, each fed by what is given for them."""
        import torch

        parted = copy(self._session.interpreter)
        parted.operations = [_reading(operation, frozenset(values)) for operation in parted.operations]

        def run(feeds: Arrays, references: Arrays) -> dict[str, np.ndarray]:
            held = {value + FED: torch.from_numpy(np.array(references[value], np.float32)) for value in values}
            return _arrays(parted.run({**self._session.given(feeds), **held}, values))

        return run


def _view(session: MilEvaluator) -> GraphView:
    interpreter = session.interpreter
    made = [typed for operation in interpreter.operations for typed in operation.outputs]
    known = {typed.name for typed in (*made, *interpreter.function.inputs)}
    nodes = tuple(
        GraphNode(op.location, word(op.type), op.names_read, tuple(typed.name for typed in op.outputs))
        for op in interpreter.operations
    )
    constants = frozenset(name for node in nodes for name in node.inputs if name not in known)
    shapes = {typed.name: typed.shape for typed in (*made, *interpreter.function.inputs)}
    inputs = tuple(spec.name for spec in session.inputs)
    return GraphView(nodes, inputs, {spec.name: spec.name for spec in session.outputs}, shapes, constants)


def word(kind: str) -> str:
    """Return a type in the exporters' words: layer_norm -> LayerNormalization, reduce_mean -> ReduceMean."""
    return WORDS.get(kind) or "".join(part.capitalize() for part in kind.split("_"))


def _reading(operation: "Operation", values: frozenset[str]) -> "Operation":
    """Return the operation with other names for what it reads of `values`."""
    from edgestep.runtimes.mil.program import Name

    def other(binding: Any) -> Any:
        if isinstance(binding, tuple):
            return tuple(map(other, binding))
        return Name(binding.name + FED) if isinstance(binding, Name) and binding.name in values else binding

    return replace(operation, inputs={name: other(binding) for name, binding in operation.inputs.items()})


def _arrays(values: dict[str, Any]) -> dict[str, np.ndarray]:
    return {name: value.float().cpu().numpy() for name, value in values.items()}
