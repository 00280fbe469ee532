"""Layers of a float graph -> the same layers between QuantizeLinear and DequantizeLinear (QDQ).

What a convolution gives has a scale s and a zero point z for each channel: integer kernels know one of a
whole output, so that the convolution is made to give y / s + z, by the scales of its weight and by its bias, which is
rounded in steps of 1; what reads it dequantizes each channel.

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


def steps_of_channels(low: np.ndarray, high: np.ndarray, types: IntegerTypes) -> Steps:
    """Return the steps of each channel, that hold low..high and 0, as `steps_of_activation` those of a tensor."""
    each = [steps_of_activation(float(a), float(b), types) for a, b in zip(low, high, strict=True)]
    return Steps(np.array([e.scale for e in each]), np.array([e.zero_point for e in each]))


Integers = tuple[np.ndarray, Steps]
"""A weight's integers, shaped as it is, and their steps."""


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


def whole_outputs(graph: Graph, layers: Sequence[str]) -> dict[str, str]:
    """Return tensor -> layer, of what the convolutions among the layers give."""
    chosen = set(layers)
    return {n.output[0]: n.name for n in graph.graph.node if n.name in chosen and n.op_type in WHOLE}


class Pairs:
    """Puts pairs into a graph: first around activations, then at weights, whose integers may be chosen in between.

    `ranges` has every tensor of `quantized_tensors` of the layers; `channels`, of what convolutions give, the steps of
    each channel: it is rounded by these where the convolution has a bias, and by its range where it has none.
    """

    def __init__(
        self,
        graph: Graph,
        ranges: Mapping[str, tuple[float, float]],
        types: IntegerTypes,
        channels: Mapping[str, Steps] | None = None,
    ) -> None:
        self.graph, self.types, self.ranges, self.channels = graph, types, ranges, channels or {}
        self.steps: dict[str, Steps] = {}
        self.before: dict[str, list[Any]] = {}  # node name -> what is put before it
        self.after: dict[str, list[Any]] = {}
        self.read: dict[str, str] = {}
        self.fed: dict[str, str] = {}  # layer -> what it read before there were pairs
        self.weights: dict[str, tuple[str, Steps]] = {}
        opset = next(each.version for each in graph.model.opset_import if each.domain in ("", "ai.onnx"))
        wide = np.dtype(types.activation).itemsize == 2 and opset < FIRST_OPSET_OF_16_BITS
        self.domain = MICROSOFT if wide else ""

    def add_to_activations(self, layers: Collection[str]) -> None:
        """Round what the layers read and, of convolutions in 8 bits, what they give; the weights stay float."""
        for node in self._those(layers):
            self.fed[node.name] = node.input[0]
            for place, name in enumerate(list(node.input[:2])):
                if name not in self.graph.initializers:
                    node.input[place] = self._activation(node, name)
            if self._is_whole(node):
                self._output(node)
        self._place()

    def add_to_weights(
        self,
        layers: Collection[str],
        weights_alone: Collection[str] = (),
        integers: Mapping[str, Integers] | None = None,
    ) -> None:
        """Make integers of the weights, and of biases that integers are added to; `integers`: weight -> those chosen.

        Of `weights_alone` the input is float: their integers have all 8 bits, as nothing is added up that saturates.
        """
        chosen = integers or {}
        for node in self._those(weights_alone):
            node.input[1] = self._weight(node, WEIGHTS_ALONE, chosen)
        for node in self._those(layers):
            inputs = list(node.input)
            channels = self._channels(node, node.output[0].removesuffix("/raw")) if self._is_whole(node) else None
            if inputs[1] in self.graph.initializers:
                node.input[1] = self._weight(node, self.types, chosen, channels)
            if self._is_whole(node) and len(inputs) > 2 and inputs[2]:
                node.input[2] = self._bias(node, inputs, channels)
            if channels is not None:
                self._round_to_ones(node)
            if node.op_type == "MatMul":
                self._keep_apart(node)
        self._place()

    def _those(self, layers: Collection[str]) -> list[Any]:
        names = set(layers)
        return [node for node in self.graph.graph.node if node.name in names]

    def _is_whole(self, node: Any) -> bool:
        return node.op_type in WHOLE and self.types.activation != "uint16"

    def _place(self) -> None:
        """Put the new nodes where they belong, and leave out what nothing reads any more."""
        from onnx import helper

        nodes = []
        for node in self.graph.graph.node:
            nodes += [*self.before.get(node.name, ()), node, *self.after.get(node.name, ())]
        self.before, self.after = {}, {}
        self.graph.set_nodes(nodes)
        opsets = self.graph.model.opset_import
        if self.domain and not any(each.domain == self.domain for each in opsets):
            opsets.append(helper.make_opsetid(self.domain, 1))

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
        channels = self._channels(node, name)
        whole = f"{name}/quantized" if channels is None else f"{name}/whole"
        self.after[node.name] = self._pair(name, raw, whole, name, channels)
        if channels is None:
            self.read[name] = name  # an integer layer that reads channels rounds them once more, to one scale

    def _channels(self, node: Any, output: str) -> Steps | None:
        """Return the steps of a convolution's output; None where its weight is another layer's too, or it has no bias:
        it takes both to move scales and zero points into. Signed ones would get a float kernel on x86.
        """
        fits = len(node.input) > 2 and node.input[2] and len(self.graph.readers[node.input[1]]) == 1
        return self.channels.get(output) if fits and self.types.activation == "uint8" else None

    def _pair(self, name: str, source: str, whole: str, back: str, channels: Steps | None = None) -> list[Any]:
        steps, kind = (self._steps(name), "") if channels is None else (channels, "/channels")
        axis = None if channels is None else 1
        scale = self.graph.put(f"{name}/scale{kind}", steps.scale)
        zero = self.graph.put(f"{name}/zero_point{kind}", steps.zero_point)
        return [
            self._node("QuantizeLinear", [source, scale, zero], whole, f"{name}/QuantizeLinear{kind}", axis),
            self._node("DequantizeLinear", [whole, scale, zero], back, f"{name}/DequantizeLinear{kind}", axis),
        ]

    def _steps(self, name: str) -> Steps:
        if name not in self.steps:
            self.steps[name] = steps_of_activation(*self.ranges[name], self.types)
        return self.steps[name]

    def _round_to_ones(self, node: Any) -> None:
        """Round a convolution's output in steps of 1, which its weights and bias have been made for."""
        pair = self.graph.readers[node.output[0]][0]
        pair.input[1] = self.graph.put("one/scale", np.array(1, np.float32))
        pair.input[2] = self.graph.put("one/zero_point", np.array(0, self.types.activation))
        del pair.attribute[:]

    def _weight(
        self, node: Any, types: IntegerTypes, chosen: Mapping[str, Integers], channels: Steps | None = None
    ) -> str:
        name = node.input[1]
        if name not in self.weights:
            axis = channel_axis(node)
            whole, steps = chosen[name] if name in chosen else quantized_weight(self.graph.value(name), axis, types)
            inputs = [
                self.graph.put(f"{name}/quantized", whole),
                self.graph.put(f"{name}/scale", steps.scale if channels is None else steps.scale / channels.scale),
                self.graph.put(f"{name}/zero_point", steps.zero_point),
            ]
            back = f"{name}/dequantized"
            made = self._node("DequantizeLinear", inputs, back, f"{name}/DequantizeLinear", axis=axis)
            self.before.setdefault(node.name, []).append(made)
            self.weights[name] = (back, steps)
        return self.weights[name][0]

    def _bias(self, node: Any, inputs: Sequence[str], channels: Steps | None) -> str:
        """int32, in steps of the activation's times the weight's, as the integer kernels add it."""
        scale = self._steps(self.fed[node.name]).scale * self.weights[inputs[1]][1].scale
        limit = (1 << 31) - 1
        bias = self.graph.value(inputs[2]).astype(np.float64)
        if channels is not None:
            bias = bias + channels.zero_point * channels.scale.astype(np.float64)
        whole = np.clip(np.round(bias / scale.astype(np.float64)), -limit, limit)
        scale = scale if channels is None else scale / channels.scale
        name = f"{node.name}/bias"
        count = len(whole)
        given = [
            self.graph.put(f"{name}/quantized", whole.astype(np.int32)),
            self.graph.put(f"{name}/scale", np.broadcast_to(scale, (count,)).astype(np.float32)),
            self.graph.put(f"{name}/zero_point", np.zeros(count, np.int32)),
        ]
        back = f"{name}/dequantized"
        self.before.setdefault(node.name, []).append(
            self._node("DequantizeLinear", given, back, f"{name}/DequantizeLinear", axis=0)
        )
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
