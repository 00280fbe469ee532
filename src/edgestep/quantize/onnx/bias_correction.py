"""Bias + E[W x - W_q x_q]: what rounding shifts a layer's output by on average is added back.

Nagel et al., arXiv 1906.04721. A layer is linear in its input, so the mean over calibration follows from
the mean of each input channel before and after rounding; where a convolution pads, its border is taken as the rest.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from edgestep.quantize.onnx.editing import Graph
from edgestep.quantize.onnx.integer_types import IntegerTypes
from edgestep.quantize.onnx.observed import Feed, observe
from edgestep.quantize.onnx.qdq import channel_axis, quantized_weight, steps_of_activation


def correct_biases(
    graph: Graph,
    layers: Sequence[str],
    ranges: Mapping[str, tuple[float, float]],
    feeds: Sequence[Feed],
    types: IntegerTypes,
) -> tuple[str, ...]:
    """Change the biases that the layers have, before pairs are added; return the layers that were corrected."""
    chosen = set(layers)
    biases = {node.name: bias for node in graph.graph.node if node.name in chosen and (bias := _bias_of(graph, node))}
    nodes = [node for node in graph.graph.node if node.name in biases]
    means = _means(graph, {node.input[0]: node for node in nodes}, ranges, feeds, types)
    for node in nodes:
        before, after = means[node.input[0]]
        weight = graph.value(node.input[1]).astype(np.float64)
        whole, steps = quantized_weight(weight.astype(np.float32), channel_axis(node), types)
        shape = [-1 if i == channel_axis(node) else 1 for i in range(weight.ndim)]
        rounded = (whole.astype(np.float64) - float(steps.zero_point[0])) * steps.scale.reshape(shape)
        if node.op_type == "Conv":
            off = weight.sum((2, 3)) @ before - rounded.sum((2, 3)) @ after
        else:
            off = before @ weight - after @ rounded
        bias = graph.value(biases[node.name])
        graph.put(biases[node.name], (bias + off).astype(bias.dtype))
    return tuple(biases)


def _bias_of(graph: Graph, node: Any) -> str:
    """Return the initializer that is the layer's bias and nothing else's, "" where it has none."""
    name = ""
    if node.op_type == "Conv" and len(node.input) > 2 and _groups(node) == 1:
        name = node.input[2]
    readers = graph.readers[node.output[0]]
    if node.op_type == "MatMul" and len(readers) == 1 and readers[0].op_type == "Add":
        name = next((each for each in readers[0].input if each in graph.initializers), "")
    fits = name and node.input[1] in graph.initializers and len(graph.initializers[name].dims) == 1
    return name if fits and len(graph.readers[name]) == 1 else ""


def _groups(node: Any) -> int:
    return next((each.i for each in node.attribute if each.name == "group"), 1)


def _means(
    graph: Graph,
    read: Mapping[str, Any],
    ranges: Mapping[str, tuple[float, float]],
    feeds: Sequence[Feed],
    types: IntegerTypes,
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return tensor -> the mean of each input channel, float64, as it is and as it is rounded."""
    limits = np.iinfo(types.activation)
    sums: dict[str, list[Any]] = {name: [0.0, 0.0, 0] for name in read}

    def see(name: str, value: np.ndarray) -> None:
        rows = np.moveaxis(value, 1 if read[name].op_type == "Conv" else -1, -1)
        rows = rows.reshape(-1, rows.shape[-1])
        steps = steps_of_activation(*ranges[name], types)
        zero = float(steps.zero_point)
        whole = np.clip(np.round(rows / steps.scale) + zero, limits.min, limits.max)
        sums[name][0] += rows.sum(0, dtype=np.float64)
        sums[name][1] += ((whole - zero) * steps.scale).sum(0, dtype=np.float64)
        sums[name][2] += len(rows)

    observe(graph.model, {name: node.name for name, node in read.items()}, feeds, see)
    return {name: (before / count, after / count) for name, (before, after, count) in sums.items()}
