"""Softmax(scale Q Kᵀ + mask) V with all that lays heads out and back -> one Attention (ONNX opset 23).

Twelve nodes become one: Reshape and Transpose of queries, keys, values and of the result, the scale on both sides of
the product, two MatMul and the Softmax. Whether a chain of Reshape and Transpose only splits the heads is found by
sending numbered elements through it, so that it does not matter how an exporter writes it.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from edgestep.export.onnx.rewriting import (
    add_node,
    name_like,
    only_reader,
    producer,
    scalar_of,
    shape_of,
)

OPSET, IR_VERSION = 23, 11
"""The first that have Attention."""
QUERIES, KEYS = (0, 2, 1, 3), (0, 2, 3, 1)
"""[B, S, heads, D] -> [B, heads, S, D] for queries and values, [B, heads, D, S] for keys."""


@dataclass(frozen=True)
class Scores:
    """The product of queries [B, heads, S, D] and keys [B, heads, D, T] before the softmax."""

    product: Any
    scale: float
    mask: Any


def fuse_attention(model: Any) -> int:
    """Rewrite every attention in place and return how many; one whose form is another stays as it is."""
    count = sum(_fused(model.graph, node) for node in list(model.graph) if node.op_type == "Softmax")
    if count:
        model.graph.opset_imports[""] = max(OPSET, model.graph.opset_imports[""])
        model.ir_version = max(IR_VERSION, model.ir_version)
    return count


def _fused(graph: Any, softmax: Any) -> bool:
    scores = _scores(softmax)
    weighted = only_reader(softmax.outputs[0], "MatMul")
    if scores is None or weighted is None or weighted.inputs[0] is not softmax.outputs[0]:
        return False
    queries = _tokens(scores.product.inputs[0], QUERIES)
    keys = _tokens(scores.product.inputs[1], KEYS)
    values = _tokens(weighted.inputs[1], QUERIES)
    merged = _merged(weighted.outputs[0])
    if queries is None or keys is None or values is None or values[1] != 1 or merged is None:
        return False
    heads = shape_of(scores.product.outputs[0])[1]  # type: ignore[index]  # the chains above have shapes
    inputs = [queries[0], keys[0], values[0]] + ([scores.mask] if scores.mask is not None else [])
    fused = add_node(
        graph,
        merged.producer(),
        "Attention",
        inputs,
        merged,
        name=name_like(softmax, "Attention"),
        q_num_heads=heads,
        kv_num_heads=heads,
        scale=scores.scale * queries[1] * keys[1],
    )
    merged.replace_all_uses_with(fused)
    return True


def _scores(softmax: Any) -> Scores | None:
    """Return what the softmax over the last axis reads: MatMul, a scale after it perhaps, a mask perhaps."""
    shape = shape_of(softmax.inputs[0])
    axis = softmax.attributes.get_int("axis", -1)
    if shape is None or len(shape) != 4 or axis not in (-1, 3):
        return None
    value, mask, scale = softmax.inputs[0], None, 1.0
    added = producer(value, "Add")
    if added is not None:
        value, mask = added.inputs
        masked = shape_of(mask)
        if masked is None or len(masked) != 4 or masked[2:] != shape[2:]:
            return None
    value, scale = _unscaled(value)
    product = producer(value, "MatMul")
    return None if product is None else Scores(product, scale, mask)


def _unscaled(value: Any) -> tuple[Any, float]:
    """Return what is multiplied or divided by a constant number, and that factor; (value, 1) where nothing is."""
    node = producer(value, "Mul", "Div")
    number = scalar_of(node.inputs[1]) if node is not None else None
    if node is None or number is None:
        return value, 1.0
    return node.inputs[0], number if node.op_type == "Mul" else 1 / number


def _tokens(split: Any, perm: tuple[int, ...]) -> tuple[Any, float] | None:
    """Return ([B, S, heads D], the factor on the way) that `split`, heads laid out by `perm`, is made of."""
    shape = shape_of(split)
    if shape is None or len(shape) != 4:
        return None
    sizes = [shape[perm.index(i)] for i in range(4)]  # [B, S, heads, D]
    expected = np.arange(np.prod(shape)).reshape(sizes).transpose(perm)
    tokens = (sizes[0], sizes[1], sizes[2] * sizes[3])
    value, factor, chain, found = split, 1.0, [], None
    while True:
        value, scale = _unscaled(value)
        factor *= scale
        if shape_of(value) == tokens and np.array_equal(_sent(np.arange(expected.size), tokens, chain), expected):
            found = value, factor
        node = producer(value, "Reshape", "Transpose")
        if node is None or shape_of(node.inputs[0]) is None:
            return found
        chain.insert(0, node)
        value = node.inputs[0]


def _merged(heads: Any) -> Any:
    """Return the [B, S, heads D] that is made of [B, heads, S, D], and of nothing else; None where there is none."""
    shape = shape_of(heads)
    if shape is None or len(shape) != 4:
        return None
    tokens = (shape[0], shape[2], shape[1] * shape[3])
    numbers = np.arange(np.prod(shape)).reshape(shape)
    expected = numbers.transpose(QUERIES).reshape(tokens)
    value, chain = heads, []
    while (node := only_reader(value, "Reshape", "Transpose")) is not None and node.inputs[0] is value:
        chain.append(node)
        value = node.outputs[0]
        if shape_of(value) == tokens and np.array_equal(_sent(numbers, shape, chain), expected):
            return None if value.is_graph_output() else value
    return None


def _sent(numbers: np.ndarray, shape: tuple[int, ...], chain: list[Any]) -> np.ndarray:
    """Return numbers of that shape after a chain of Reshape and Transpose."""
    array = numbers.reshape(shape)
    for node in chain:
        if node.op_type == "Transpose":
            perm = node.attributes.get("perm")
            array = array.transpose(perm.as_ints() if perm is not None else None)
        else:
            array = array.reshape(shape_of(node.outputs[0]) or (-1,))
    return array
