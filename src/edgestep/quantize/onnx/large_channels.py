"""An ONNX graph whose layers read large channels -> a Mul in front of each such layer."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgestep.quantize.channels import MULTIPLIED, along, reach_of
from edgestep.quantize.large_channels import scales
from edgestep.quantize.onnx.editing import Graph
from edgestep.quantize.onnx.observed import Feed, channel_reaches


@dataclass(frozen=True)
class _Read:
    """A tensor, its channel axis, and the names of the layers that multiply it by weights, with channels at an axis."""

    tensor: str
    axis: int
    layers: tuple[str, ...]
    weight_axis: int


def split_large_channels(graph: Graph, layers: Sequence[str], feeds: Sequence[Feed]) -> tuple[str, ...]:
    """Rewrite in place, the function stays; return the layers whose large channels are divided."""
    found = _read_by(graph, set(layers))
    largest = channel_reaches(graph.model, {each.tensor: (each.axis, each.layers[0]) for each in found}, feeds)
    done = [each for each in found if _divided(graph, each, largest[each.tensor])]
    return tuple(name for each in done for name in each.layers)


def _read_by(graph: Graph, layers: set[str]) -> list[_Read]:
    by_tensor: dict[tuple[str, int, int], list[str]] = defaultdict(list)
    for node in graph.graph.node:
        axes = _axes(node)
        if node.name in layers and axes is not None and _own(graph, node):
            by_tensor[node.input[0], *axes].append(node.name)
    return [_Read(name, axis, tuple(names), weight) for (name, axis, weight), names in by_tensor.items()]


def _axes(node: Any) -> tuple[int, int] | None:
    """Return the axes of channels of what a layer reads and of its weight; None where they are more than that."""
    given = {each.name: each.i for each in node.attribute}
    if node.op_type == "Conv":
        return (1, 1) if given.get("group", 1) == 1 else None
    if node.op_type == "Gemm":
        return (-1, 1 if given.get("transB", 0) else 0) if not given.get("transA", 0) else None
    return (-1, 0) if node.op_type == "MatMul" else None


def _own(graph: Graph, node: Any) -> bool:
    name = node.input[1]
    return name in graph.initializers and graph.readers[name] == [node] and len(graph.initializers[name].dims) > 1


def _divided(graph: Graph, each: _Read, largest: np.ndarray) -> bool:
    import onnx

    # Looked up anew: a graph that was edited has other nodes.
    nodes = [node for node in graph.graph.node if node.name in each.layers]
    weights = {node.input[1]: graph.value(node.input[1]) for node in nodes}
    reach = np.max([reach_of(weight, each.weight_axis) for weight in weights.values()], axis=0).astype(np.float64)
    s = scales(largest, reach)
    if (s == 1).all():
        return False
    for name, weight in weights.items():
        graph.put(name, (weight * along(s, each.weight_axis, weight.ndim)).astype(weight.dtype))
    shape = graph.shapes[each.tensor]
    name = f"{nodes[0].name}/{MULTIPLIED}"
    inverse = graph.put(f"{name}/inverse", along(1 / s, each.axis, len(shape)).astype(np.float32))
    graph.describe(name, each.tensor, shape)
    for node in nodes:
        node.input[0] = name
    divided = onnx.helper.make_node("Mul", [each.tensor, inverse], [name], name=name)
    first = type(nodes[0]).FromString(nodes[0].SerializeToString())
    graph.replace(first, [divided, first])
    return True
