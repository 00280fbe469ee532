"""An ONNX model in float32 -> the same in float16 inside, float32 at its inputs and outputs; weights are not read.

Weights and arithmetic become float16, and half as many bytes. What stays float32, with a Cast where the two meet:

- the x0 formula and everything else outside a module: at t = 999 an error in epsilon is amplified 14.6 times;
- the denoiser's last layer, whose rounding would be amplified so, and its first, so that the network sees the same z
  as the formula;
- modules that normalise: their sums of squares leave float16's range;
- linear attention, which sums over all pixels without a softmax: diffusers computes it in float32 too;
- what the caller names: nodes that were seen to leave float16's range, see overflow.py.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterator
from typing import Any

import numpy as np

from edgestep.export.onnx.lazy import derived, drop_unused_weights, is_lazy

NORMS = frozenset({"InstanceNormalization", "LayerNormalization", "GroupNormalization", "ReduceMean"})
EDGES = re.compile(r"(unet|transformer)(_\d+)?\.(conv_in|conv_out|proj_out|pos_embed|patch_embed)\b")
FLOAT32_INPUTS = {"Resize": (1, 2)}
"""Operator -> positions that its schema wants in float32 whatever the data is in."""
LARGEST = float(np.finfo(np.float16).max)


def half_from_onnx(model: Any, keep: Collection[str] = ()) -> Any:
    """Convert an onnx_ir.Model in place and return it. Nodes' names stay; Casts are `<value>/Cast_<type>`.

    `keep` names nodes, or modules whose own nodes (not those of their submodules), that stay float32 as well.
    """
    import onnx_ir as ir

    kept = float32_nodes(model.graph, keep)
    # Both are settled before anything moves: what a value was, and where it is read.
    reads = [(node, list(_wanted_inputs(node, node in kept))) for node in model.graph]
    halves = {v for node in model.graph if node not in kept for v in node.outputs if v.dtype == ir.DataType.FLOAT}
    casts: dict[tuple[Any, Any], Any] = {}
    for value in halves:
        value.type = ir.TensorType(ir.DataType.FLOAT16)  # a new one: clones of a model share the old
    for node, positions in reads:
        for position, wanted in positions:
            value = node.inputs[position]
            if value.dtype == wanted:
                continue
            if value.const_value is not None and value.is_initializer():
                node.replace_input_with(position, _half_weight(model, value))
                continue
            if (value, wanted) not in casts:
                casts[value, wanted] = _cast(model.graph, value, wanted, node)
            node.replace_input_with(position, casts[value, wanted])
    _outputs_in_float32(model.graph)
    drop_unused_weights(model)
    return model


def float32_nodes(graph: Any, keep: Collection[str] = ()) -> set[Any]:
    """Return the nodes that stay float32: by the rules above, and those of `keep`."""
    normalising = {module_of(node) for node in graph if node.op_type in NORMS} | _linear_attentions(graph)
    return {
        node
        for node in graph
        if module_of(node) in normalising
        or not module_of(node)
        or EDGES.match(module_of(node))
        or node.op_type in ("Cast", "Constant")
        or module_of(node) in keep
        or node.name in keep
    }


def _linear_attentions(graph: Any) -> set[str]:
    """Return the modules that multiply matrices twice and divide, without a softmax: (Q (K^T V)) / (Q (K^T 1))."""
    found: dict[str, Counter[str]] = {}
    for node in graph:
        found.setdefault(module_of(node), Counter())[node.op_type] += 1
    return {m for m, ops in found.items() if ops["MatMul"] >= 2 and ops["Div"] and not ops["Softmax"]}


def module_of(node: Any) -> str:
    """Return the module that a node is named after: `vae.decoder.conv_in` of `vae.decoder.conv_in/Conv`."""
    return node.name.rpartition("/")[0]


def _wanted_inputs(node: Any, kept: bool) -> Iterator[tuple[int, Any]]:
    """Yield (position, type) for each input, where it is a float at all; a Cast takes what it gets."""
    import onnx_ir as ir

    if node.op_type == "Cast":
        return
    for position, value in enumerate(node.inputs):
        if value is not None and value.dtype == ir.DataType.FLOAT:
            stays = kept or position in FLOAT32_INPUTS.get(node.op_type, ())
            yield position, ir.DataType.FLOAT if stays else ir.DataType.FLOAT16


def _half_weight(model: Any, value: Any) -> Any:
    """Return the float16 copy of a weight under a name of its own, made once."""
    import onnx_ir as ir

    name = f"{value.name}/float16"
    if name in model.graph.initializers:
        return model.graph.initializers[name]
    if is_lazy(value):
        return derived(model, value, "float16", half_from_array, tuple(value.shape.numpy()), ir.DataType.FLOAT16)
    tensor = ir.Tensor(half_from_array(value.const_value.numpy()), name=name)
    made = ir.Value(name=name, shape=value.shape, type=ir.TensorType(ir.DataType.FLOAT16), const_value=tensor)
    model.graph.register_initializer(made)
    return made


def half_from_array(array: np.ndarray) -> np.ndarray:
    """Return float16, finite numbers kept finite."""
    with np.errstate(over="ignore"):
        half = array.astype(np.float16)
    over = np.isinf(half)
    if over.any():  # only where it is needed: a mask of every weight's size costs as much as the weight
        half[over] = np.where(np.isinf(array[over]), array[over], np.sign(array[over]) * LARGEST).astype(np.float16)
    return half


def _cast(graph: Any, value: Any, to: Any, before: Any) -> Any:
    """Insert a Cast after the value's producer, or before its first reader where it is an input; return its output."""
    import onnx_ir as ir

    name = f"{value.name}/Cast_{'float32' if to == ir.DataType.FLOAT else 'float16'}"
    out = ir.Value(name=name, shape=value.shape, type=ir.TensorType(to))
    node = ir.Node("", "Cast", [value], [ir.AttrInt64("to", int(to))], outputs=[out], name=name)
    producer = value.producer()
    if producer is None:
        graph.insert_before(before, node)
    else:
        graph.insert_after(producer, node)
    return out


def _outputs_in_float32(graph: Any) -> None:
    """Bring each output that became float16 back under its own name, by the Cast that a reader has already if any."""
    import onnx_ir as ir

    for position, value in enumerate(list(graph.outputs)):
        if value.dtype != ir.DataType.FLOAT16:
            continue
        name = value.name
        casts = [use.node for use in value.uses() if use.node.name == f"{name}/Cast_float32"]
        out = casts[0].outputs[0] if casts else _cast(graph, value, ir.DataType.FLOAT, None)
        value.name, out.name = f"{name}/float16", name
        graph.outputs[position] = out
