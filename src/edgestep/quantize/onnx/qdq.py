"""Layers of a float graph -> the same layers between QuantizeLinear and DequantizeLinear (QDQ).

onnxruntime's own writer gives the rounded value to every reader of a tensor. Here only the layers that compute in
integers read it: a residual, a skip or a float layer reads what was there before.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgestep.quantize.onnx.editing import Graph
from edgestep.quantize.onnx.integer_types import TYPES, IntegerTypes

WHOLE = ("Conv", "ConvTranspose")
"""Operations that onnxruntime computes in integers only where the output is quantized too."""
WEIGHTS_ALONE = TYPES["u8s8"]
"""Weights that meet float activations use all 8 bits: nothing is added up in integers that could saturate."""
MICROSOFT = "com.microsoft"
FIRST_OPSET_OF_16_BITS = 21


@dataclass(frozen=True)
class Steps:
    """real = scale * (integer - zero_point); arrays of one number or of one for each channel."""

    scale: np.ndarray
    zero_point: np.ndarray


def steps_of_activation(low: float, high: float, types: IntegerTypes) -> Steps:
    """Return the steps that hold low..high and 0, asymmetric."""
    limits, low, high = np.iinfo(types.activation), min(low, 0.0), max(high, 0.0)
    scale = np.float32(max((high - low) / (types.levels - 1), float(np.finfo(np.float32).tiny)))
    zero = np.clip(np.round(limits.min - low / float(scale)), limits.min, limits.max)
    return Steps(np.array(scale), np.array(zero, types.activation))


def quantized_weight(weight: np.ndarray, axis: int, types: IntegerTypes) -> tuple[np.ndarray, Steps]:
    """Return the integers, shaped as the weight, and their steps: symmetric, one for each place of `axis`."""
    rest = tuple(i for i in range(weight.ndim) if i != axis)
    largest = np.abs(weight).max(axis=rest, keepdims=True)
    top = (1 << (types.bits - 1)) - (0 if types.bits < 8 else 1)
    scale = np.maximum(largest / np.float32(top), np.finfo(np.float32).tiny).astype(np.float32)
    zero = 128 if types.weight == "uint8" else 0
    limits = np.iinfo(types.weight)
    whole = np.clip(np.round(weight / scale) + zero, max(limits.min, zero - top), min(limits.max, zero + top))
    flat = scale.reshape(-1)
    return whole.astype(types.weight), Steps(flat, np.full(flat.shape, zero, types.weight))


def channel_axis(node: Any) -> int:
    """Return the axis of a layer's weight along which its output channels lie."""
    if node.op_type == "ConvTranspose":
        return 1
    if node.op_type == "Gemm":
        return 0 if any(each.name == "transB" and each.i for each in node.attribute) else 1
    return 0 if node.op_type == "Conv" else 1


def quantized_tensors(graph: Graph, layers: Sequence[str]) -> dict[str, str]:
    """Return tensor -> layer, of every activation that gets a pair: what layers read, and what convolutions give."""
    chosen = set(layers)
    found: dict[str, str] = {}
    for node in graph.graph.node:
        if node.name in chosen:
            for name in (*node.input[:2], *(node.output if node.op_type in WHOLE else ())):
                if name not in graph.initializers:
                    found.setdefault(name, node.name)
    return found


def add_pairs(
    graph: Graph,
    layers: Sequence[str],
    ranges: Mapping[str, tuple[float, float]],
    types: IntegerTypes,
    weights_alone: Collection[str] = (),
) -> None:
    """Put the pairs into the graph; `ranges` has every tensor of `quantized_tensors` of these layers.

    Of the layers in `weights_alone` only the weight becomes integers.
    """
    writer = _Writer(graph, ranges, types)
    chosen = set(layers)
    for node in list(graph.graph.node):
        if node.name in chosen:
            writer.quantize(node)
        elif node.name in weights_alone:
            writer.quantize_weight(node)
    writer.finish()


class _Writer:
    def __init__(self, graph: Graph, ranges: Mapping[str, tuple[float, float]], types: IntegerTypes) -> None:
        self.graph, self.types, self.ranges = graph, types, ranges
        self.steps: dict[str, Steps] = {}
        self.before: dict[str, list[Any]] = {}  # node name -> what is put before it
        self.after: dict[str, list[Any]] = {}
        self.read: dict[str, str] = {}
        self.weights: dict[str, tuple[str, Steps]] = {}
        opset = next(each.version for each in graph.model.opset_import if each.domain in ("", "ai.onnx"))
        wide = np.dtype(types.activation).itemsize == 2 and opset < FIRST_OPSET_OF_16_BITS
        self.domain = MICROSOFT if wide else ""

    def quantize(self, node: Any) -> None:
        """Give a layer its pairs: its activations, its weight, its bias, and a convolution's output."""
        inputs = list(node.input)
        for place, name in enumerate(inputs[:2]):
            if name in self.graph.initializers:
                node.input[place] = self._weight(node, name, self.types)
            else:
                node.input[place] = self._activation(node, name)
        if node.op_type in WHOLE and self.types.activation != "uint16":
            if len(inputs) > 2 and inputs[2]:
                node.input[2] = self._bias(node, inputs)
            self._output(node)
        if node.op_type == "MatMul":
            self._keep_apart(node)

    def quantize_weight(self, node: Any) -> None:
        """Give a layer int8 weights in 8 bits, and leave what it reads float: nothing is added up in integers."""
        node.input[1] = self._weight(node, node.input[1], WEIGHTS_ALONE)

    def finish(self) -> None:
        """Put the new nodes where they belong, and leave out what nothing reads any more."""
        from onnx import helper

        nodes = []
        for node in self.graph.graph.node:
            nodes += [*self.before.get(node.name, ()), node, *self.after.get(node.name, ())]
        used = {name for node in nodes for name in node.input} | self.graph.outputs
        kept = [tensor for tensor in self.graph.graph.initializer if tensor.name in used]
        del self.graph.graph.node[:]
        self.graph.graph.node.extend(nodes)
        saved = [type(tensor).FromString(tensor.SerializeToString()) for tensor in kept]
        del self.graph.graph.initializer[:]
        self.graph.graph.initializer.extend(saved)
        if self.domain and not any(each.domain == self.domain for each in self.graph.model.opset_import):
            self.graph.model.opset_import.append(helper.make_opsetid(self.domain, 1))

    def _activation(self, node: Any, name: str) -> str:
        """Return the rounded value of a tensor; the pair stands before the first layer that reads it."""
        if name not in self.read:
            whole, back = f"{name}/quantized", f"{name}/dequantized"
            self.before.setdefault(node.name, []).extend(self._pair(name, name, whole, back))
            self.read[name] = back
        return self.read[name]

    def _output(self, node: Any) -> None:
        """Let every reader of a convolution read its rounded output."""
        name, raw = node.output[0], f"{node.output[0]}/raw"
        node.output[0] = raw
        whole = f"{name}/quantized"
        self.after[node.name] = self._pair(name, raw, whole, name)
        self.read[name] = name

    def _pair(self, name: str, source: str, whole: str, back: str) -> list[Any]:
        steps = self._steps(name)
        scale = self.graph.put(f"{name}/scale", steps.scale)
        zero = self.graph.put(f"{name}/zero_point", steps.zero_point)
        return [
            self._node("QuantizeLinear", [source, scale, zero], whole, f"{name}/QuantizeLinear"),
            self._node("DequantizeLinear", [whole, scale, zero], back, f"{name}/DequantizeLinear"),
        ]

    def _steps(self, name: str) -> Steps:
        if name not in self.steps:
            self.steps[name] = steps_of_activation(*self.ranges[name], self.types)
        return self.steps[name]

    def _weight(self, node: Any, name: str, types: IntegerTypes) -> str:
        if name not in self.weights:
            axis = channel_axis(node)
            whole, steps = quantized_weight(self.graph.value(name), axis, types)
            inputs = [
                self.graph.put(f"{name}/quantized", whole),
                self.graph.put(f"{name}/scale", steps.scale),
                self.graph.put(f"{name}/zero_point", steps.zero_point),
            ]
            back = f"{name}/dequantized"
            made = self._node("DequantizeLinear", inputs, back, f"{name}/DequantizeLinear", axis=axis)
            self.before.setdefault(node.name, []).append(made)
            self.weights[name] = (back, steps)
        return self.weights[name][0]

    def _bias(self, node: Any, inputs: Sequence[str]) -> str:
        """int32, in steps of the activation's times the weight's, as the integer kernels add it."""
        scale = self._steps(inputs[0]).scale * self.weights[inputs[1]][1].scale
        limit = (1 << 31) - 1
        whole = np.clip(np.round(self.graph.value(inputs[2]) / scale.astype(np.float64)), -limit, limit)
        name = f"{node.name}/bias"
        channels = len(whole)
        given = [
            self.graph.put(f"{name}/quantized", whole.astype(np.int32)),
            self.graph.put(f"{name}/scale", np.broadcast_to(scale, (channels,)).astype(np.float32)),
            self.graph.put(f"{name}/zero_point", np.zeros(channels, np.int32)),
        ]
        back = f"{name}/dequantized"
        self.before[node.name].append(self._node("DequantizeLinear", given, back, f"{name}/DequantizeLinear", axis=0))
        return back

    def _keep_apart(self, node: Any) -> None:
        """Give the bias behind a MatMul as many axes as the product: onnxruntime makes a float Gemm of it otherwise."""
        rank = len(self.graph.shapes.get(node.output[0], ()))
        for reader in self.graph.readers[node.output[0]]:
            for place, name in enumerate(reader.input):
                if reader.op_type == "Add" and name in self.graph.initializers:
                    bias = self.graph.value(name)
                    if bias.ndim == 1 and rank > 2:
                        row = bias.reshape((1,) * (rank - 1) + (-1,))
                        reader.input[place] = self.graph.put(f"{name}/row", row)

    def _node(self, kind: str, inputs: Sequence[str], output: str, name: str, axis: int | None = None) -> Any:
        from onnx import helper

        given: dict[str, Any] = {} if axis is None else {"axis": axis}
        return helper.make_node(kind, inputs, [output], name, domain=self.domain, **given)
