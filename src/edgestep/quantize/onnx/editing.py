"""A graph in memory that is being rewritten: who makes a tensor, who reads it, and nodes put in their place."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np


class Graph:
    """An ONNX graph with its tensors by name. What it holds is up to date after each of its own methods."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.graph = model.graph
        self._index()

    def _index(self) -> None:
        self.initializers = {tensor.name: tensor for tensor in self.graph.initializer}
        self.makers: dict[str, Any] = {}
        self.readers: dict[str, list[Any]] = defaultdict(list)
        for node in self.graph.node:
            self.makers.update((output, node) for output in node.output)
            for name in dict.fromkeys(node.input):
                self.readers[name].append(node)
        self.outputs = {value.name for value in self.graph.output}
        self.shapes = {
            value.name: tuple(size.dim_value for size in value.type.tensor_type.shape.dim)
            for value in (*self.graph.value_info, *self.graph.input, *self.graph.output)
        }

    def value(self, name: str) -> np.ndarray:
        """Return the numbers of an initializer."""
        from onnx import numpy_helper

        return numpy_helper.to_array(self.initializers[name])

    def put(self, name: str, value: np.ndarray) -> str:
        """Add an initializer, or give one other numbers; return its name."""
        from onnx import numpy_helper

        made = numpy_helper.from_array(np.ascontiguousarray(value), name)
        if name in self.initializers:
            self.initializers[name].CopyFrom(made)
        else:
            self.graph.initializer.append(made)
            self.initializers[name] = self.graph.initializer[-1]
        return name

    def replace(self, old: Any, new: Sequence[Any]) -> None:
        """Put nodes in the place of one; initializers that nothing reads any more go."""
        place = next(i for i, node in enumerate(self.graph.node) if node.name == old.name)
        del self.graph.node[place]
        for node in reversed(new):
            self.graph.node.insert(place, node)
        self._index()
        for name in [name for name in self.initializers if name not in self.readers and name not in self.outputs]:
            self.graph.initializer.remove(self.initializers.pop(name))

    def set_nodes(self, nodes: Sequence[Any]) -> None:
        """Have these nodes and no others; initializers that none of them reads go."""
        used = {name for node in nodes for name in node.input} | self.outputs
        kept = [tensor for tensor in self.graph.initializer if tensor.name in used]
        saved = [type(tensor).FromString(tensor.SerializeToString()) for tensor in kept]
        copies = [type(node).FromString(node.SerializeToString()) for node in nodes]
        del self.graph.node[:], self.graph.initializer[:]
        self.graph.node.extend(copies)
        self.graph.initializer.extend(saved)
        self._index()

    def describe(self, name: str, like: str, shape: Sequence[int]) -> None:
        """Say the shape of a new tensor, of the element type of an old one."""
        import onnx

        values = {v.name: v for v in (*self.graph.value_info, *self.graph.input, *self.graph.output)}
        kind = values[like].type.tensor_type.elem_type if like in values else onnx.TensorProto.FLOAT
        self.graph.value_info.append(onnx.helper.make_tensor_value_info(name, kind, [s or None for s in shape]))
        self.shapes[name] = tuple(shape)
