"""Small ONNX graphs, each with the pattern that one rewrite is for, and what runs them."""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper

FLOAT = onnx.TensorProto.FLOAT
Shape = Sequence[int | str]


def model_of(
    nodes: Sequence[onnx.NodeProto],
    inputs: Mapping[str, Shape],
    output: tuple[str, Shape],
    weights: Mapping[str, np.ndarray],
    inside: Mapping[str, Shape] | None = None,
) -> onnx.ModelProto:
    """Return a float model of opset 20; `inside` are shapes of tensors between."""
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info(name, FLOAT, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(output[0], FLOAT, output[1])],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()],
        value_info=[helper.make_tensor_value_info(name, FLOAT, shape) for name, shape in (inside or {}).items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)


def run(model: onnx.ModelProto, feed: Mapping[str, np.ndarray]) -> np.ndarray:
    """Check and run a model; return its output."""
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, dict(feed))[0])


def optimised(model: onnx.ModelProto) -> list[str]:
    """Return the operations that onnxruntime really runs."""
    with tempfile.TemporaryDirectory() as folder:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.optimized_model_filepath = str(Path(folder) / "optimised.onnx")
        onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        return [node.op_type for node in onnx.load(options.optimized_model_filepath).graph.node]


def skip_model(random: np.random.Generator) -> onnx.ModelProto:
    """Conv over a concatenation of 4 channels and of 6 that are 100 times larger."""
    nodes = [
        helper.make_node("Concat", ["a", "b"], ["both"], "unet.up/Concat", axis=1),
        helper.make_node("Conv", ["both", "w", "bias"], ["y"], "unet.up.conv_shortcut/Conv", pads=[1, 1, 1, 1]),
    ]
    weights = {"w": random.standard_normal((3, 10, 3, 3)) * np.r_[np.ones(4), np.full(6, 0.01)][:, None, None]}
    weights["bias"] = random.standard_normal(3)
    return model_of(nodes, {"a": (1, 4, 8, 8), "b": (1, 6, 8, 8)}, ("y", (1, 3, 8, 8)), weights)


def skip_feed(random: np.random.Generator) -> dict[str, np.ndarray]:
    shapes = {"a": ((1, 4, 8, 8), 1), "b": ((1, 6, 8, 8), 100)}
    return {name: (random.standard_normal(shape) * times).astype(np.float32) for name, (shape, times) in shapes.items()}


def token_model(random: np.random.Generator, batch: int | str = 1) -> onnx.ModelProto:
    """Keys and values of 5 tokens, their sum the output."""
    nodes = [
        helper.make_node("MatMul", ["x", "k"], ["keys"], "unet.a.attn2.to_k/MatMul"),
        helper.make_node("MatMul", ["x", "v"], ["values"], "unet.a.attn2.to_v/MatMul"),
        helper.make_node("Add", ["keys", "values"], ["y"], "unet.a.attn2/Add"),
    ]
    weights = {name: random.standard_normal((8, 6)) for name in "kv"}
    inside = {"keys": (batch, 5, 6), "values": (batch, 5, 6)}
    return model_of(nodes, {"x": (batch, 5, 8)}, ("y", (batch, 5, 6)), weights, inside)


def token_feeds(random: np.random.Generator, count: int = 4, batch: int = 1) -> list[dict[str, np.ndarray]]:
    """The same start token 100 times larger than the words, which differ."""
    start = random.standard_normal((1, 1, 8)) * 100
    words = random.standard_normal((count, batch, 4, 8))
    starts = np.broadcast_to(start, (batch, 1, 8))
    return [{"x": np.concatenate([starts, each], axis=1).astype(np.float32)} for each in words]


def norm_model(random: np.random.Generator) -> onnx.ModelProto:
    """LayerNorm with a channel that is 50 times larger -> two MatMuls, one with a bias."""
    nodes = [
        helper.make_node("LayerNormalization", ["x", "g", "h"], ["n"], "unet.norm1/LayerNormalization"),
        helper.make_node("MatMul", ["n", "q"], ["a"], "unet.attn1.to_q/MatMul"),
        helper.make_node("MatMul", ["n", "k"], ["b"], "unet.attn1.to_k/MatMul"),
        helper.make_node("Add", ["b", "bias"], ["c"], "unet.attn1.to_k/Add"),
        helper.make_node("Add", ["a", "c"], ["y"], "unet.attn1/Add"),
    ]
    large = np.where(np.arange(16) == 3, 50.0, 1.0)
    weights = {"g": random.uniform(0.5, 1.5, 16) * large, "h": random.standard_normal(16) * large}
    weights |= {name: random.standard_normal((16, 8)) / large[:, None] for name in "qk"}
    weights["bias"] = random.standard_normal(8)
    shapes = dict.fromkeys("abc", (1, 10, 8))
    return model_of(nodes, {"x": (1, 10, 16)}, ("y", (1, 10, 8)), weights, {"n": (1, 10, 16), **shapes})


def norm_feeds(random: np.random.Generator, count: int = 6) -> list[dict[str, np.ndarray]]:
    return [{"x": random.standard_normal((1, 10, 16)).astype(np.float32)} for _ in range(count)]
