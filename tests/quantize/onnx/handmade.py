"""A small float graph with every kind of layer that has a weight, named after modules."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SHAPES = {
    "table": (70, 32),
    "linear": (32, 64),
    "gemm": (48, 64),
    "conv": (64, 16, 3, 3),
    "grouped": (16, 8, 3, 3),
    "up": (16, 24, 2, 2),
}
LAYERS = ("net.table/Gather", "net.linear/MatMul", "net.gemm/Gemm", "net.conv/Conv", "net.grouped/Conv")
UP = "net.up/ConvTranspose"


def handmade(dtype: type = np.float32, opset: int = 20, outlier: float = 1.0) -> Any:
    """Return the model: ids int64 [1, 10] and picture float [1, 16, 6, 6] -> two floats."""
    random = np.random.default_rng(0)
    values = {name: random.standard_normal(shape).astype(dtype) / 4 for name, shape in SHAPES.items()}
    values["linear"][0] *= outlier
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["rows"], "net.table/Gather"),
        helper.make_node("MatMul", ["rows", "linear"], ["wide"], "net.linear/MatMul"),
        helper.make_node("Relu", ["wide"], ["kept"], "net.act/Relu"),
        helper.make_node("Reshape", ["kept", "flat"], ["two"], "net/Reshape"),
        helper.make_node("Gemm", ["two", "gemm"], ["text"], "net.gemm/Gemm", transB=1),
        helper.make_node("Conv", ["picture", "conv"], ["seen"], "net.conv/Conv", pads=[1, 1, 1, 1], strides=[2, 2]),
        helper.make_node("Relu", ["seen"], ["felt"], "net.act2/Relu"),
        helper.make_node("Slice", ["felt", "zero", "sixteen", "one"], ["part"], "net/Slice"),
        helper.make_node("Conv", ["part", "grouped"], ["mixed"], "net.grouped/Conv", group=2),
        helper.make_node("ConvTranspose", ["mixed", "up"], ["image"], UP),
    ]
    shapes = {"flat": [-1, 64], "zero": [0], "sixteen": [16], "one": [1]}
    constants = [numpy_helper.from_array(value, name) for name, value in values.items()]
    constants += [numpy_helper.from_array(np.array(value), name) for name, value in shapes.items()]
    element = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    graph = helper.make_graph(
        nodes,
        "handmade",
        [
            helper.make_tensor_value_info("ids", TensorProto.INT64, [1, 10]),
            helper.make_tensor_value_info("picture", element, [1, 16, 6, 6]),
        ],
        [
            helper.make_tensor_value_info("text", element, [10, 48]),
            helper.make_tensor_value_info("image", element, [1, 24, 2, 2]),
        ],
        constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)


def feeds(count: int, dtype: type = np.float32) -> list[dict[str, np.ndarray]]:
    """Return what the model is fed in `count` runs."""
    random = np.random.default_rng(1)
    return [
        {
            "ids": random.integers(0, 70, (1, 10)),
            "picture": random.standard_normal((1, 16, 6, 6)).astype(dtype),
        }
        for _ in range(count)
    ]


def save(model: Any, path: Path, *, beside: bool = False) -> Path:
    """Write the model, its weights beside it where asked."""
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(
        model, path, save_as_external_data=beside, location=f"{path.name}.data" if beside else None, size_threshold=0
    )
    return path
