"""Weights of an onnx_ir model that are read one at a time, when they are written."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from edgestep.export.source.weights import Weights

LAYOUT_OPS = ("Transpose", "Unsqueeze", "Reshape", "Identity")
"""Operations that only lay a weight out anew: done when the weight is written, not when the model is loaded."""


def attach_weights(model: Any, weights: Weights) -> None:
    """Give each initializer that is a parameter its lazy weight; constants stay as they are."""
    for name, value in model.graph.initializers.items():
        weight = weights.get(name)
        if weight is not None:
            value.const_value = lazy_tensor(weight.read, value.dtype, weight.shape, name, weight.key)


def lazy_tensor(read: Callable[[], np.ndarray], dtype: Any, shape: tuple[int, ...], name: str, key: str = "") -> Any:
    """Return an onnx_ir.LazyTensor that calls `read` each time it is asked; `key` is equal for equal content."""
    import onnx_ir as ir

    def load() -> Any:
        return ir.Tensor(np.ascontiguousarray(read()), dtype=dtype, name=name)

    return ir.LazyTensor(load, dtype=dtype, shape=ir.Shape(shape), name=name, metadata_props={"key": key})


def key_of(tensor: Any) -> str:
    """Return the key that a lazy tensor was made with, "" for any other."""
    return (tensor.metadata_props or {}).get("key", "")


def is_lazy(value: Any) -> bool:
    """Tell whether a value is an initializer that must not be read by a pass."""
    import onnx_ir as ir

    return value is not None and isinstance(value.const_value, ir.LazyTensor)


def derived(
    model: Any, value: Any, how: str, change: Callable[[np.ndarray], np.ndarray], shape: tuple[int, ...], dtype: Any
) -> Any:
    """Return a new initializer that is `change` of a lazy one, registered in the graph; `how` names what changes."""
    import onnx_ir as ir

    source = value.const_value
    name = f"{value.name}/{how}"
    if name in model.graph.initializers:
        return model.graph.initializers[name]
    tensor = lazy_tensor(lambda: change(source.numpy()), dtype, shape, name, f"{key_of(source)}|{how}")
    made = ir.Value(name=name, shape=ir.Shape(shape), type=ir.TensorType(dtype), const_value=tensor)
    model.graph.register_initializer(made)
    return made


def fold_weight_layouts(model: Any) -> None:
    """Replace every Transpose, Unsqueeze, Reshape of a weight by the weight laid out so, without reading it."""
    import onnx_ir as ir

    for node in list(model.graph):
        if node.op_type not in LAYOUT_OPS or not is_lazy(node.inputs[0]):
            continue
        value = node.inputs[0]
        change = _layout(node, tuple(value.shape.numpy()))
        if change is None:
            continue
        how, shape, apply = change
        made = derived(model, value, how, apply, shape, value.dtype)
        ir.convenience.replace_all_uses_with(node.outputs[0], made)
        model.graph.remove(node, safe=True)
    drop_unused_weights(model)


def _layout(node: Any, shape: tuple[int, ...]) -> "tuple[str, tuple[int, ...], Callable] | None":
    if node.op_type == "Identity":
        return "same", shape, lambda array: array
    if node.op_type == "Transpose":
        perm = node.attributes.get("perm")
        order = tuple(perm.value) if perm is not None else tuple(reversed(range(len(shape))))
        how = "T" + "".join(map(str, order))
        return how, tuple(shape[i] for i in order), lambda array: array.transpose(order)
    known = _constant(node.inputs[1])
    if known is None:
        return None
    if node.op_type == "Unsqueeze":
        rank = len(shape) + known.size
        axes = {int(axis) % rank for axis in known.ravel()}
        sizes = iter(shape)
        full = tuple(1 if i in axes else next(sizes) for i in range(rank))
    else:
        full = tuple(np.empty(shape, np.int8).reshape([int(size) for size in known.ravel()]).shape)
    return "x".join(map(str, full)), full, lambda array: array.reshape(full)


def _constant(value: Any) -> np.ndarray | None:
    if value is None or is_lazy(value):
        return None
    if value.const_value is not None:
        return value.const_value.numpy()
    producer = value.producer()
    if producer is None or producer.op_type != "Constant":
        return None
    for key in ("value", "value_ints", "value_int"):
        if key in producer.attributes:
            content = producer.attributes[key].value
            return np.asarray(content.numpy() if hasattr(content, "numpy") else content)
    return None


def drop_unused_weights(model: Any) -> None:
    """Remove initializers that no node reads."""
    for name, value in list(model.graph.initializers.items()):
        if not value.uses() and not value.is_graph_output():
            del model.graph.initializers[name]


@contextmanager
def detached(model: Any) -> Iterator[None]:
    """Within the block lazy weights are inputs of unknown content; afterwards those still used are weights again."""
    graph = model.graph
    weights = {name: (value, value.const_value) for name, value in graph.initializers.items() if is_lazy(value)}
    for name, (value, _) in weights.items():
        del graph.initializers[name]
        value.const_value = None
        graph.inputs.append(value)
    try:
        yield
    finally:
        for name, (value, tensor) in weights.items():
            graph.inputs.remove(value)
            value.name = name
            value.const_value = tensor
            if value.uses():
                graph.register_initializer(value)
