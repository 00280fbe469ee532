"""Fused graphs draw what they drew, with fewer nodes, names kept and no weight read."""

import re
from collections import Counter

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgestep.export.onnx.fuse import drop_unused_nodes, fuse
from edgestep.export.onnx.fuse_affine import fuse_affine
from edgestep.export.onnx.fuse_attention import fuse_attention
from edgestep.export.onnx.fuse_upsampling import fuse_upsampling, taps_added
from edgestep.export.onnx.lazy import is_lazy
from edgestep.export.onnx.onnx_from_torch import onnx_from_torch

COMPONENTS = ("text_encoder", "unet", "vae_decoder", "generator")
NAME = re.compile(r"([\w.]+/)?[A-Z]\w*")


def made(nodes, inputs: dict, output: tuple, weights: dict) -> ir.Model:
    """A float model of static shapes, every value's shape known; `nodes` are helper.make_node's arguments."""
    graph = helper.make_graph(
        [
            helper.make_node(*args, name=f"net/{args[0]}_{i}", **attributes)
            for i, (args, attributes) in enumerate(nodes)
        ],
        "made",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(*output)],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    return ir.serde.deserialize_model(onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True))


def outputs(model: ir.Model, seed: int = 0) -> list[np.ndarray]:
    proto = ir.serde.serialize_model(model)
    onnx.checker.check_model(proto, full_check=True)
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    random, feeds = np.random.default_rng(seed), {}
    for node in session.get_inputs():
        if "int64" in node.type:
            feeds[node.name] = random.integers(0, 500, node.shape)
        else:
            feeds[node.name] = random.standard_normal(node.shape, dtype=np.float32)
    return list(session.run(None, feeds))


def assert_equal(before: list[np.ndarray], after: list[np.ndarray], tolerance: float = 1e-5) -> None:
    for one, other in zip(before, after, strict=True):
        assert one.shape == other.shape and one.std() > 0
        assert np.abs(one.astype(float) - other).max() <= tolerance * np.abs(one.astype(float)).max()


def operators(model: ir.Model) -> Counter:
    return Counter(node.op_type for node in model.graph)


@pytest.mark.parametrize("name", COMPONENTS)
def test_fused_components_draw_the_same(graphs, name: str):
    model = onnx_from_torch(graphs, name)
    before, nodes, found = outputs(model), len(model.graph), operators(model)
    modules = {node.name.rpartition("/")[0] for node in model.graph}
    fuse(model, attention=True)
    # uint8 pictures may differ by one level where a pixel lies between two.
    assert_equal(before, outputs(model), 1 / 255 if name == "generator" else 1e-5)
    after = operators(model)
    assert len(model.graph) < nodes
    assert after["Attention"] == found["Softmax"] and not after["Softmax"]
    assert after["BatchNormalization"] == found["InstanceNormalization"]
    names = [node.name for node in model.graph]
    assert len(set(names)) == len(names) and all(NAME.fullmatch(one) for one in names)
    assert {one.rpartition("/")[0] for one in names} <= modules


def test_no_weight_is_read(graphs):
    model = onnx_from_torch(graphs, "generator")

    def refuse():
        raise AssertionError("read a weight")

    lazy = [value for value in model.graph.initializers.values() if is_lazy(value)]
    assert len(lazy) > 50
    for value in lazy:
        value.const_value = ir.LazyTensor(refuse, dtype=value.dtype, shape=value.shape, name=value.name)
    fuse(model, attention=True)
    fuse_upsampling(model, wide=1, large=1)


HEADS, SIZE, TOKENS = 2, 4, 6


def attention(
    *, scale_after: bool = False, mask: tuple | None = None, perm=(0, 2, 1, 3), read_twice: bool = False
) -> ir.Model:
    """Attention of x [1, 6, 8] on itself, keys laid out in two steps; the scale on both sides or on the scores."""
    nodes = [
        (("Reshape", ["x", "split"], ["q4"]), {}),
        (("Transpose", ["q4"], ["q"]), {"perm": list(perm)}),
        (("Reshape", ["x", "split"], ["k4"]), {}),
        (("Transpose", ["k4"], ["k3"]), {"perm": [0, 2, 1, 3]}),
        (("Transpose", ["k3"], ["k"]), {"perm": [0, 1, 3, 2]}),
        (("Transpose", ["k3"], ["v"]), {"perm": [0, 1, 2, 3]}),
    ]
    if scale_after:
        nodes += [(("MatMul", ["q", "k"], ["qk"]), {}), (("Div", ["qk", "scale"], ["scores"]), {})]
    else:
        nodes += [(("Mul", [side, "scale"], [f"{side}s"]), {}) for side in "qk"]
        nodes += [(("MatMul", ["qs", "ks"], ["scores"]), {})]
    if mask:
        nodes += [(("Add", ["scores", "mask"], ["masked"]), {})]
    nodes += [
        (("Softmax", ["masked" if mask else "scores"], ["weights"]), {"axis": -1}),
        (("MatMul", ["weights", "v"], ["heads"]), {}),
        (("Transpose", ["heads"], ["tokens"]), {"perm": [0, 2, 1, 3]}),
        (("Reshape", ["tokens", "join"], ["joined"]), {}),
        (("Add", ["joined", "x"], ["y" if not read_twice else "z"]), {}),
    ]
    if read_twice:
        nodes += [(("ReduceMax", ["weights"], ["most"]), {"keepdims": 0}), (("Add", ["z", "most"], ["y"]), {})]
    random = np.random.default_rng(0)
    weights = {
        "split": np.array([1, TOKENS, HEADS, SIZE]),
        "join": np.array([1, TOKENS, HEADS * SIZE]),
        "scale": np.float32(0.7),
    }
    if mask:
        weights["mask"] = random.standard_normal(mask, dtype=np.float32)
    return made(nodes, {"x": [1, TOKENS, HEADS * SIZE]}, ("y", TensorProto.FLOAT, [1, TOKENS, HEADS * SIZE]), weights)


@pytest.mark.parametrize("scale_after", [False, True])
@pytest.mark.parametrize("mask", [None, (1, 1, TOKENS, TOKENS)])
def test_attention_is_one_node(scale_after: bool, mask: tuple | None):
    model = attention(scale_after=scale_after, mask=mask)
    before = outputs(model)
    assert fuse_attention(model) == 1
    drop_unused_nodes(model)
    assert operators(model) == {"Attention": 1, "Add": 1}
    assert model.graph.opset_imports[""] == 23
    assert_equal(before, outputs(model))


@pytest.mark.parametrize(
    "other",
    [{"mask": (1, 1, 1, TOKENS)}, {"read_twice": True}],
    ids=["a mask that broadcasts over queries", "weights read elsewhere"],
)
def test_other_attention_stays(other: dict):
    model = attention(**other)
    before = operators(model)
    assert fuse_attention(model) == 0
    drop_unused_nodes(model)
    assert operators(model) == before and model.graph.opset_imports[""] == 20


def test_heads_laid_out_in_another_way_stay():
    """A [T, T] attention whose queries are transposed over tokens and sizes: right shapes, other elements."""
    model = attention()
    for node in model.graph:
        if node.name == "net/Reshape_0":
            node.replace_input_with(1, ir.Value(name="other"))
            value = ir.Value(name="other", const_value=ir.tensor(np.array([1, HEADS, TOKENS, SIZE]), name="other"))
            model.graph.register_initializer(value)
            node.replace_input_with(1, value)
            node.outputs[0].shape = ir.Shape([1, HEADS, TOKENS, SIZE])
        if node.name == "net/Transpose_1":
            node.attributes["perm"] = ir.AttrInt64s("perm", [0, 1, 2, 3])
    outputs(model)  # it runs
    assert fuse_attention(model) == 0


def group_norm(*, unsqueezed: bool) -> ir.Model:
    nodes = [
        (("Reshape", ["x", "groups"], ["grouped"]), {}),
        (("InstanceNormalization", ["grouped", "one", "zero"], ["normal"]), {"epsilon": 1e-6}),
        (("Reshape", ["normal", "picture"], ["apart"]), {}),
        (("Mul", ["apart", "w3"], ["scaled"]), {}),
        (("Add", ["scaled", "b3"], ["moved"]), {}),
        (("Sigmoid", ["moved"], ["y"]), {}),
    ]
    random = np.random.default_rng(0)
    weights = {
        "groups": np.array([1, 2, -1]),
        "picture": np.array([1, 6, 4, 4]),
        "one": np.ones(2, np.float32),
        "zero": np.zeros(2, np.float32),
    }
    for name in "wb":
        vector = random.standard_normal(6, dtype=np.float32)
        weights |= {name: vector, "axes": np.array([1, 2])} if unsqueezed else {f"{name}3": vector.reshape(6, 1, 1)}
    if unsqueezed:
        nodes = [(("Unsqueeze", [name, "axes"], [f"{name}3"]), {}) for name in "wb"] + nodes
    return made(nodes, {"x": [1, 6, 4, 4]}, ("y", TensorProto.FLOAT, [1, 6, 4, 4]), weights)


@pytest.mark.parametrize("unsqueezed", [False, True])
def test_weight_and_bias_of_a_group_norm_are_one_node(unsqueezed: bool):
    model = group_norm(unsqueezed=unsqueezed)
    before = outputs(model)
    assert fuse_affine(model) == 1
    drop_unused_nodes(model)
    assert operators(model) == {"Reshape": 2, "InstanceNormalization": 1, "BatchNormalization": 1, "Sigmoid": 1}
    assert_equal(before, outputs(model))


def upsampled(*, channels: int = 5, size: int = 7, **attributes) -> ir.Model:
    random = np.random.default_rng(0)
    attributes = {"pads": [1, 1, 1, 1], **attributes}
    nodes = [
        (
            ("Resize", ["x", "", "scales"], ["large"]),
            {"mode": "nearest", "nearest_mode": "floor", "coordinate_transformation_mode": "asymmetric"},
        ),
        (("Conv", ["large", "w", "b"], ["c"]), attributes),
        (("Sigmoid", ["c"], ["y"]), {}),
    ]
    weights = {
        "scales": np.array([1, 1, 2, 2], np.float32),
        "w": random.standard_normal((3, channels, 3, 3), dtype=np.float32) / 5,
        "b": random.standard_normal(3, dtype=np.float32),
    }
    strides = attributes.get("strides", [1, 1])
    shape = [1, 3, 2 * size // strides[0], 2 * (size + 1) // strides[1]]
    return made(nodes, {"x": [1, channels, size, size + 1]}, ("y", TensorProto.FLOAT, shape), weights)


def test_convolution_of_an_upsampled_picture_is_four_small_ones():
    model = upsampled()
    before = outputs(model)
    assert fuse_upsampling(model, wide=5, large=56) == 1
    drop_unused_nodes(model)
    assert operators(model) == {"Conv": 4, "Concat": 1, "DepthToSpace": 1, "Sigmoid": 1}
    assert "net/Conv_1" in {node.name for node in model.graph}
    assert_equal(before, outputs(model))


@pytest.mark.parametrize(
    ("limits", "attributes"),
    [
        ({"wide": 6, "large": 1}, {}),
        ({"wide": 1, "large": 57}, {}),
        ({"wide": 1, "large": 1}, {"strides": [2, 2]}),
    ],
    ids=["narrow", "small", "strided"],
)
def test_other_convolutions_stay(limits: dict, attributes: dict):
    assert fuse_upsampling(upsampled(**attributes), **limits) == 0


def test_taps_are_added_as_they_fall():
    kernel = np.arange(9.0, dtype=np.float32).reshape(1, 1, 3, 3)
    assert taps_added(kernel, 0, 0).ravel().tolist() == [0, 1 + 2, 3 + 6, 4 + 5 + 7 + 8]
    assert taps_added(kernel, 1, 1).ravel().tolist() == [0 + 1 + 3 + 4, 2 + 5, 6 + 7, 8]
