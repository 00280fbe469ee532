"""Conv(Concat(a, b), W) -> Conv(a, W_a) + Conv(b, W_b): each branch of a skip concatenation has a scale of its own.

The skip and the deeper branch differ in range; one scale for both leaves the narrower one few levels (Q-Diffusion,
arXiv 2302.04304). A convolution is linear in its input channels, so the sum is the same.
"""

from collections.abc import Collection
from typing import Any

import numpy as np

from edgestep.quantize.floats import module_path
from edgestep.quantize.onnx.editing import Graph


def split_concatenations(graph: Graph, allowed: Collection[str]) -> tuple[str, ...]:
    """Rewrite those of the `allowed` layers that read a concatenation of channels; return the layers that they became.

    The first keeps the layer's name and bias, the others have `_2`, `_3` behind it.
    """
    made: list[str] = []
    for node in [node for node in graph.graph.node if node.op_type == "Conv" and node.name in allowed]:
        branches = _branches(graph, node)
        if branches:
            made += _split(graph, node, branches)
    return tuple(made)


def _branches(graph: Graph, node: Any) -> list[tuple[str, int]]:
    """Return (tensor, channels) of what is concatenated; nothing where it is no concatenation of known channels."""
    from onnx import helper

    maker = graph.makers.get(node.input[0])
    if maker is None or maker.op_type != "Concat" or node.input[1] not in graph.initializers:
        return []
    axis = next(helper.get_attribute_value(each) for each in maker.attribute if each.name == "axis")
    groups = next((helper.get_attribute_value(each) for each in node.attribute if each.name == "group"), 1)
    shapes = [graph.shapes.get(name, ()) for name in maker.input]
    if axis != 1 or groups != 1 or not all(len(shape) == 4 and shape[1] for shape in shapes):
        return []
    return [(name, shape[1]) for name, shape in zip(maker.input, shapes, strict=True)]


def _split(graph: Graph, node: Any, branches: list[tuple[str, int]]) -> list[str]:
    from onnx import helper

    path, output, weight = module_path(node.name), node.output[0], graph.value(node.input[1])
    ends = np.cumsum([channels for _, channels in branches])[:-1]
    new, parts = [], []
    for i, ((tensor, _), part) in enumerate(zip(branches, np.split(weight, ends, axis=1), strict=True)):
        behind = "" if i == 0 else f"_{i + 1}"
        inputs = [tensor, graph.put(f"{node.input[1]}/{i + 1}", part), *(node.input[2:] if i == 0 else ())]
        parts.append(f"{path}/branch{i + 1}")
        graph.describe(parts[-1], output, graph.shapes.get(output, ()))
        conv = helper.make_node("Conv", inputs, [parts[-1]], f"{node.name}{behind}")
        conv.attribute.extend(node.attribute)
        new.append(conv)
    total = parts[0]
    for i, part in enumerate(parts[1:]):
        last = i == len(parts) - 2
        name = output if last else f"{path}/sum{i + 1}"
        new.append(helper.make_node("Add", [total, part], [name], f"{path}/Add" + ("" if last else f"_{i + 2}")))
        total = name
    graph.replace(node, new)
    return [each.name for each in new if each.op_type == "Conv"]
