"""An ONNX model in float32 -> the same in float16 inside, float32 at its inputs and outputs.

Weights and arithmetic become float16, and half as many bytes. What stays float32, with a Cast where the two meet:

- the x0 formula and everything else outside a module: at t = 999 an error in epsilon is amplified 14.6 times;
- the UNet's conv_out, whose rounding would be amplified so, and its conv_in, so that the network sees the same z as
  the formula;
- modules that normalise: their sums of squares leave float16's range.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

NORMS = frozenset({"InstanceNormalization", "LayerNormalization", "GroupNormalization", "ReduceMean"})
EDGES = ("unet.conv_in", "unet.conv_out")
FLOAT32_INPUTS = {"Resize": (1, 2)}
"""Operator -> positions that its schema wants in float32 whatever the data is in."""
FLOAT, FLOAT16 = 1, 10  # onnx.TensorProto.FLOAT and FLOAT16
LARGEST = float(np.finfo(np.float16).max)


def half_from_onnx(model: Any) -> Any:
    """Convert in place and return the model. Shapes and nodes' names stay; Casts are added as `<value>/Cast_<type>`."""
    graph = model.graph
    kept = _kept_nodes(graph)
    types = _float_types(graph, kept)
    weights = {tensor.name: tensor for tensor in graph.initializer}
    added: dict[tuple[str, int], Any] = {}
    nodes = []
    for node in graph.node:
        for position, wanted in _wanted_inputs(node, node.name in kept):
            value = node.input[position]
            if types.get(value, wanted) == wanted:
                continue
            if value in weights:
                node.input[position] = _half_weight(graph, weights, types, value)
                continue
            if (value, wanted) not in added:
                added[value, wanted] = _cast(value, wanted)
                nodes.append(added[value, wanted])
            node.input[position] = added[value, wanted].output[0]
        nodes.append(node)
    nodes += _outputs_in_float32(graph, nodes, types)
    del graph.node[:]
    graph.node.extend(nodes)
    _drop_unused_weights(graph)
    for info in graph.value_info:
        if types.get(info.name) == FLOAT16:
            info.type.tensor_type.elem_type = FLOAT16
    return model


def _kept_nodes(graph: Any) -> set[str]:
    """Return the names of the nodes that stay float32."""
    normalising = {_module(node) for node in graph.node if node.op_type in NORMS}
    return {
        node.name
        for node in graph.node
        if _module(node) in normalising or _module(node) in ("", *EDGES) or node.op_type in ("Cast", "Constant")
    }


def _module(node: Any) -> str:
    return node.name.rpartition("/")[0]


def _float_types(graph: Any, kept: set[str]) -> dict[str, int]:
    """Return the type, FLOAT or FLOAT16, that every float value will have once its producer is converted."""
    floats = {v.name for v in [*graph.value_info, *graph.output] if v.type.tensor_type.elem_type == FLOAT}
    types = {v.name: FLOAT for v in [*graph.input, *graph.initializer] if _is_float(v)}
    for node in graph.node:
        for value in node.output:
            if value in floats:
                types[value] = FLOAT if node.name in kept else FLOAT16
    return types


def _is_float(value: Any) -> bool:
    return (value.data_type if hasattr(value, "data_type") else value.type.tensor_type.elem_type) == FLOAT


def _wanted_inputs(node: Any, kept: bool) -> Iterator[tuple[int, int]]:
    """Yield (position, type) for each input, where it is a float at all; a Cast takes what it gets."""
    if node.op_type == "Cast":
        return
    for position, value in enumerate(node.input):
        if value:
            stays = kept or position in FLOAT32_INPUTS.get(node.op_type, ())
            yield position, FLOAT if stays else FLOAT16


def _half_weight(graph: Any, weights: dict[str, Any], types: dict[str, int], name: str) -> str:
    """Add the float16 copy of a weight under a name of its own, once; return that name."""
    from onnx import numpy_helper

    copy = f"{name}/float16"
    if copy not in weights:
        array = numpy_helper.to_array(weights[name])
        finite = np.where(np.isfinite(array), np.clip(array, -LARGEST, LARGEST), array)
        weights[copy] = numpy_helper.from_array(finite.astype(np.float16), copy)
        types[copy] = FLOAT16
        graph.initializer.append(weights[copy])
    return copy


def _cast(value: str, to: int) -> Any:
    from onnx import helper

    name = f"{value}/Cast_{'float32' if to == FLOAT else 'float16'}"
    return helper.make_node("Cast", [value], [name], name=name, to=to)


def _outputs_in_float32(graph: Any, nodes: list[Any], types: dict[str, int]) -> list[Any]:
    """Rename each output that became float16 and return the Casts that bring it back under its own name."""
    from onnx import helper

    casts = []
    for output in graph.output:
        if types.get(output.name) != FLOAT16:
            continue
        inner = f"{output.name}/float16"
        for node in nodes:
            node.output[:] = [inner if value == output.name else value for value in node.output]
            node.input[:] = [inner if value == output.name else value for value in node.input]
        name = f"{output.name}/Cast_float32"
        casts.append(helper.make_node("Cast", [inner], [output.name], name=name, to=FLOAT))
    return casts


def _drop_unused_weights(graph: Any) -> None:
    used = {value for node in graph.node for value in node.input}
    keep = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(keep)
