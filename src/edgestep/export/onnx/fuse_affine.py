"""Mul(weight), Add(bias) after an InstanceNormalization -> one BatchNormalization of mean 0 and variance 1.

GroupNorm is exported as a normalization of groups, then a weight and a bias for each channel. One pass over the
picture instead of two; nothing else changes. It keeps the norm's module, so what keeps norms in float32 keeps it too.
"""

from typing import Any

import numpy as np

from edgestep.export.onnx.rewriting import add_node, changed, constant, only_reader, producer, shape_of


def fuse_affine(model: Any) -> int:
    """Rewrite every GroupNorm in place and return how many."""
    return sum(_fused(model, node) for node in list(model.graph) if node.op_type == "InstanceNormalization")


def _fused(model: Any, norm: Any) -> bool:
    chain = [norm]
    for operator in ("Reshape", "Mul", "Add"):
        following = only_reader(chain[-1].outputs[0], operator)
        if following is None:
            return False
        chain.append(following)
    _, reshape, multiplied, added = chain
    if added.outputs[0].is_graph_output():
        return False
    shape = shape_of(reshape.outputs[0])
    weight = _per_channel(model, multiplied, reshape.outputs[0], shape)
    bias = _per_channel(model, added, multiplied.outputs[0], shape)
    if weight is None or bias is None:
        return False
    channels = shape_of(weight)[0]  # type: ignore[index]
    dtype = weight.dtype.numpy()
    mean = constant(model, f"zeros_{channels}", np.zeros(channels, dtype))
    variance = constant(model, f"ones_{channels}", np.ones(channels, dtype))
    output = added.outputs[0]
    inputs = [reshape.outputs[0], weight, bias, mean, variance]
    fused = add_node(model.graph, added, "BatchNormalization", inputs, output, epsilon=0.0)
    output.replace_all_uses_with(fused)
    return True


def _per_channel(model: Any, node: Any, data: Any, shape: tuple[int, ...] | None) -> Any:
    """Return the [C] of which `node`'s other operand is a [C, 1, 1] that broadcasts over `data` [B, C, ...]."""
    operand = node.inputs[1] if node.inputs[0] is data else node.inputs[0]
    if shape is None or shape_of(operand) != (shape[1],) + (1,) * (len(shape) - 2):
        return None
    laid_out = producer(operand, "Unsqueeze", "Reshape")
    if laid_out is not None and laid_out.inputs[0].is_initializer() and shape_of(laid_out.inputs[0]) == shape[1:2]:
        return laid_out.inputs[0]
    if not operand.is_initializer():
        return None
    return changed(model, operand, "vector", lambda array: array.reshape(-1), shape[1:2])
