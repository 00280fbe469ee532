"""What the rewrites of a graph share: reading it around a node, and putting one node in place of several."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from edgestep.export.onnx.lazy import derived, is_lazy


def shape_of(value: Any) -> tuple[int, ...] | None:
    """Return a static shape, None where it is unknown or has a symbol in it."""
    if value is None or value.shape is None or not all(isinstance(size, int) for size in value.shape):
        return None
    return tuple(value.shape)


def constant_of(value: Any) -> np.ndarray | None:
    """Return a small constant: a shape, a scale. None for anything else, a lazy weight too, which is not read."""
    if value is None or value.const_value is None or is_lazy(value):
        return None
    return value.const_value.numpy()


def scalar_of(value: Any) -> float | None:
    """Return a constant of one element."""
    array = constant_of(value)
    return float(array.reshape(())) if array is not None and array.size == 1 else None


def producer(value: Any, *operators: str) -> Any:
    """Return the node that makes `value` where it is one of these operators, else None."""
    node = value.producer() if value is not None else None
    return node if node is not None and node.op_type in operators else None


def only_reader(value: Any, *operators: str) -> Any:
    """Return the one node that reads `value` where it is one of these operators; None where others read it too."""
    uses = tuple(value.uses())
    if len(uses) != 1 or value.is_graph_output():
        return None
    return uses[0].node if uses[0].node.op_type in operators else None


def name_like(node: Any, operator: str) -> str:
    """Return `<module>/<operator>`: unet.mid_block.attn1/Softmax -> unet.mid_block.attn1/Attention."""
    module, slash, _ = node.name.rpartition("/")
    return f"{module}{slash}{operator}"


def add_node(
    graph: Any, before: Any, operator: str, inputs: Sequence[Any], like: Any, *, name: str = "", **attributes: Any
) -> Any:
    """Insert a node before `before` and return its output, shaped as the value `like`; named after like's module."""
    import onnx_ir as ir

    node = ir.node(operator, inputs, attributes)
    node.name = name or name_like(before, operator)
    node.metadata_props.update(before.metadata_props)
    output = node.outputs[0]
    # Copies: what becomes float16 later is told so in place.
    output.name, output.type, output.shape = node.name, ir.TensorType(like.dtype), ir.Shape(like.shape)
    graph.insert_before(before, node)
    return output


def changed(
    model: Any, value: Any, how: str, change: Callable[[np.ndarray], np.ndarray], shape: tuple[int, ...]
) -> Any:
    """Return the initializer `<value>/<how>`, which is `change` of a constant: lazily where that one is lazy."""
    if is_lazy(value):
        return derived(model, value, how, change, shape, value.dtype)
    return constant(model, f"{value.name}/{how}", change(value.const_value.numpy()))


def constant(model: Any, name: str, array: np.ndarray) -> Any:
    """Return the initializer of that name, made where there is none yet."""
    import onnx_ir as ir

    if name not in model.graph.initializers:
        tensor = ir.tensor(np.ascontiguousarray(array), name=name)
        value = ir.Value(name=name, shape=ir.Shape(array.shape), type=ir.TensorType(tensor.dtype), const_value=tensor)
        model.graph.register_initializer(value)
    return model.graph.initializers[name]
