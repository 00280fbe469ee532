"""Weights and biases of layers in integers -> those whose errors cancel: rounded in the order of the graph.

Two streams of the calibration go through the graph: one in float, one in which activations are rounded and the weights
in front of a layer are the integers that they became. Of what they feed the layer, t and x, follow its integers (GPTQ,
see gptq.py) and its bias (Nagel et al., arXiv 1906.04721):

    bias + E[W t - W_q x]
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edgestep.quantize.gptq import gptq
from edgestep.quantize.onnx.editing import Graph
from edgestep.quantize.onnx.integer_types import IntegerTypes
from edgestep.quantize.onnx.moments import has_moments, has_rows, mean_row, moments_of
from edgestep.quantize.onnx.packing import lying
from edgestep.quantize.onnx.qdq import WEIGHTS_ALONE, Integers, Steps
from edgestep.quantize.onnx.segments import Feed, Stream, advance
from edgestep.quantize.onnx.weights import Weight, weights_of
from edgestep.quantize.rounding import Rounded, integers_of


def float_graph(graph: Graph) -> Any:
    """Return the nodes of a graph as they are now, and the names of its initializers without their numbers."""
    import onnx

    model = onnx.ModelProto(ir_version=graph.model.ir_version, opset_import=graph.model.opset_import)
    model.graph.node.extend(graph.graph.node)
    model.graph.output.extend(graph.graph.output)
    model.graph.initializer.extend(
        onnx.TensorProto(name=tensor.name, dims=tensor.dims, data_type=tensor.data_type)
        for tensor in graph.graph.initializer
    )
    return model


@dataclass
class Corrected:
    """`integers`: weight -> those chosen, `by_gptq` of them by GPTQ. `biases`: the layers whose bias was corrected."""

    integers: dict[str, Integers] = field(default_factory=dict)
    biases: list[str] = field(default_factory=list)
    by_gptq: int = 0


def correct(
    graph: Graph,
    floats: Any,
    layers: Collection[str],
    weights_alone: Collection[str],
    feeds: Sequence[Feed],
    types: IntegerTypes,
) -> Corrected:
    """Choose the integers of the layers, and change their biases; `graph` has pairs at activations, `floats` none.

    What a layer cannot be corrected in is rounded to nearest. A weight that several layers read is chosen at the first.
    """
    work = _Work(graph, floats, feeds)
    weights = {weight.layer: weight for weight in weights_of(floats, fewest=1)}
    for place, node in enumerate(floats.graph.node):
        weight = weights.get(node.name)
        chosen = node.name in layers or node.name in weights_alone
        if chosen and weight is not None and has_rows(weight, node):
            work.choose(weight, place, WEIGHTS_ALONE if node.name in weights_alone else types)
    return work.made


class _Work:
    """The two streams, and what is chosen so far."""

    def __init__(self, graph: Graph, floats: Any, feeds: Sequence[Feed]) -> None:
        self.graph, self.floats, self.made = graph, floats, Corrected()
        self.places = {node.name: place for place, node in enumerate(graph.graph.node)}
        self.old_biases: dict[str, np.ndarray] = {}
        self.now: dict[str, np.ndarray] = {}
        self.targets = Stream(floats, feeds, lambda name: self._of(self.old_biases, name))
        self.inputs = Stream(graph.model, feeds, lambda name: self._of(self.now, name))
        self.readers: dict[str, list[Any]] = {}
        for node in floats.graph.node:
            for name in dict.fromkeys(node.input):
                self.readers.setdefault(name, []).append(node)

    def _of(self, known: Mapping[str, np.ndarray], name: str) -> np.ndarray:
        return known[name] if name in known else self.graph.value(name)

    def choose(self, weight: Weight, place: int, types: IntegerTypes) -> None:
        """Choose a layer's integers and its bias, once both streams stand in front of it."""
        node, here = self.floats.graph.node[place], self.places[weight.layer]
        advance({self.targets: place, self.inputs: here})
        t = tuple(self.targets.values(node.input[0], weight.layer))
        x = tuple(self.inputs.values(self.graph.graph.node[here].input[0], weight.layer))
        values = self.graph.value(weight.name)
        matrix = weight.matrix(values).astype(np.float32, copy=False)
        rounded = self._rounded(weight, node, matrix, x, types)
        self.made.integers[weight.name] = _integers(weight, rounded, types)
        self.now = {name: value for name, value in self.now.items() if self.inputs.reads_later(name)}
        self.now[weight.name] = lying(weight, rounded.values).astype(values.dtype)
        if bias := _bias_of(node, self.readers, self.graph):
            before, after = (mean_row(weight, node, each) for each in (t, x))
            old = self.old_biases[bias] = self.graph.value(bias)
            self.graph.put(bias, (old + matrix @ before - rounded.values @ after).astype(old.dtype))
            self.made.biases.append(weight.layer)

    def _rounded(
        self, weight: Weight, node: Any, matrix: np.ndarray, x: Sequence[np.ndarray], types: IntegerTypes
    ) -> Rounded:
        """Return the integers whose errors cancel in W x. W itself is not moved to make up for x - t: with 7 bits that
        is mostly noise of what was seen, and it cost the bundled generator's pictures 0.6 dB in the median.
        """
        if not has_moments(weight, node):
            scales = channel_scales(matrix, types.bits, weight.columns)
            return Rounded(integers_of(matrix, scales, types.bits), scales)
        self.made.by_gptq += 1
        return gptq(matrix, moments_of(weight, node, x, x, len(x)), types.bits, weight.columns, channel_scales)


def channel_scales(weights: np.ndarray, bits: int, block: int, importance: np.ndarray | None = None) -> np.ndarray:
    """Return float32 [outputs, columns / block], positive, as integer kernels take them; nothing is clipped."""
    del importance
    split = np.asarray(weights, np.float32).reshape(len(weights), -1, block)
    top = (1 << (bits - 1)) - (0.5 if bits < 8 else 1)
    return np.maximum(np.abs(split).max(axis=2) / np.float32(top), np.finfo(np.float32).tiny)


def _integers(weight: Weight, rounded: Rounded, types: IntegerTypes) -> Integers:
    zero = 128 if types.weight == "uint8" else 0
    whole = lying(weight, rounded.integers).astype(np.int16) + zero
    scale = rounded.scales.reshape(-1)
    return whole.astype(types.weight), Steps(scale, np.full(scale.shape, zero, types.weight))


def _bias_of(node: Any, readers: Mapping[str, Sequence[Any]], graph: Graph) -> str:
    """Return the initializer that is the layer's bias and nothing else's, "" where it has none."""
    name = ""
    if node.op_type == "Conv" and len(node.input) > 2:
        name = node.input[2]
    after = readers.get(node.output[0], ())
    if node.op_type == "MatMul" and len(after) == 1 and after[0].op_type == "Add":
        name = next((each for each in after[0].input if each in graph.initializers), "")
    fits = name and len(graph.initializers[name].dims) == 1
    return name if fits and len(readers[name]) == 1 else ""
