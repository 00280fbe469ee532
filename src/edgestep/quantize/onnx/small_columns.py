"""An ONNX graph whose weights have small columns -> a Mul in front of each such layer."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from edgestep.quantize.channels import MULTIPLIED, along
from edgestep.quantize.onnx.weights import Initializers, Weight
from edgestep.quantize.small_columns import column_scales


def lift_small_columns(model: Any, initializers: Initializers, weights: Sequence[Weight]) -> Mapping[str, np.ndarray]:
    """Put a Mul in front of those of `weights` that need it, and return by what to divide each: name -> s, shaped.

    The weights themselves are not touched: they may lie beside the file, and are read one at a time.
    """
    readers = Counter(name for node in model.graph.node for name in node.input)
    lifted: dict[str, np.ndarray] = {}
    before: dict[int, Any] = {}
    for weight in weights:
        node = model.graph.node[weight.node]
        scales = _scales(weight, node, initializers) if readers[weight.name] == 1 else None
        if scales is not None:
            lifted[weight.name] = along(scales, weight.axis, len(weight.shape))
            before[weight.node] = _multiplied(model, weight, node, scales)
    _insert(model, before)
    return lifted


def _scales(weight: Weight, node: Any, initializers: Initializers) -> np.ndarray | None:
    transposed = any(a.name == "transA" and a.i for a in node.attribute)
    if weight.operation not in ("Conv", "MatMul", "Gemm") or weight.groups != 1 or transposed:
        return None
    return column_scales(initializers.array(weight.name), weight.axis)


def _multiplied(model: Any, weight: Weight, node: Any, scales: np.ndarray) -> Any:
    """Return what multiplies a layer's input, and let the layer read it."""
    from onnx import helper, numpy_helper

    name = f"{weight.layer}/{MULTIPLIED}"
    shaped = along(scales, 1, len(weight.shape)) if weight.operation == "Conv" else scales
    dtype = helper.tensor_dtype_to_np_dtype(weight.data_type)
    model.graph.initializer.append(numpy_helper.from_array(shaped.astype(dtype), f"{name}/scale"))
    made = helper.make_node("Mul", [node.input[0], f"{name}/scale"], [name], name=name)
    node.input[0] = name
    return made


def _insert(model: Any, before: Mapping[int, Any]) -> None:
    if before:
        nodes = [type(node).FromString(node.SerializeToString()) for node in model.graph.node]
        del model.graph.node[:]
        for i, node in enumerate(nodes):
            model.graph.node.extend([before[i], node] if i in before else [node])
