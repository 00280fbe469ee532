"""GroupNorm written out as moments of channels, against PyTorch's own."""

import numpy as np
import onnx_ir as ir
import openvino
import pytest
import torch
from onnx import TensorProto

from edgestep.export.onnx.fuse import drop_unused_nodes, fuse
from edgestep.export.onnx.fuse_affine import fuse_affine
from edgestep.export.onnx.onnx_from_torch import onnx_from_torch
from edgestep.export.openvino.norms_by_channel import norms_by_channel
from tests.export.test_fuse import assert_equal, made, operators, outputs

EPSILON = 1e-6
DRAWN = np.random.default_rng(3)


def norm_of(shape: tuple[int, int, int, int], groups: int, weight: np.ndarray, bias: np.ndarray) -> ir.Model:
    """GroupNorm as export leaves it, between two operations of its own."""
    channels = shape[1]
    model = made(
        [
            (("Identity", ["x"], ["read"]), {}),
            (("Reshape", ["read", "grouped"], ["groups"]), {}),
            (("InstanceNormalization", ["groups", "ones", "zeros"], ["normed"]), {"epsilon": EPSILON}),
            (("Reshape", ["normed", "shape"], ["back"]), {}),
            (("Mul", ["back", "weight"], ["scaled"]), {}),
            (("Add", ["scaled", "bias"], ["shifted"]), {}),
            (("Identity", ["shifted"], ["y"]), {}),
        ],
        {"x": shape},
        ("y", TensorProto.FLOAT, shape),
        {
            "grouped": np.array([shape[0], groups, channels // groups * shape[2] * shape[3]], np.int64),
            "shape": np.array(shape, np.int64),
            "ones": np.ones(groups, np.float32),
            "zeros": np.zeros(groups, np.float32),
            "weight": weight.reshape(-1, 1, 1),
            "bias": bias.reshape(-1, 1, 1),
        },
    )
    assert fuse_affine(model) == 1
    drop_unused_nodes(model)
    return model


def run(model: ir.Model, x: np.ndarray) -> np.ndarray:
    compiled = openvino.Core().compile_model(
        openvino.Core().read_model(ir.serde.serialize_model(model).SerializeToString()),
        "CPU",
        {"INFERENCE_PRECISION_HINT": "f32"},
    )
    return compiled({"x": x})[0]


@pytest.mark.parametrize(("channels", "groups", "batch"), [(16, 8, 1), (64, 8, 1), (32, 32, 2), (48, 1, 1)])
def test_gives_what_torch_gives_where_the_mean_is_a_thousand_deviations(channels: int, groups: int, batch: int):
    """E[x^2] - mean^2 would lose the variance here: float32 has 24 bits, and the square of a thousand takes 20."""
    weight, bias = (DRAWN.standard_normal(channels).astype(np.float32) for _ in range(2))
    x = (1000 + DRAWN.standard_normal((batch, channels, 16, 20))).astype(np.float32)
    model = norm_of(x.shape, groups, weight, bias)
    assert norms_by_channel(model) == 1
    drop_unused_nodes(model)
    assert "InstanceNormalization" not in operators(model)
    given = (torch.from_numpy(array).double() for array in (x, weight, bias))
    one, *rest = given
    expected = torch.nn.functional.group_norm(one, groups, *rest, eps=EPSILON).numpy()
    assert np.abs(run(model, x) - expected).max() < 2e-3


def test_epsilon_counts():
    x = np.full((1, 16, 16, 16), 1e-4, np.float32) * DRAWN.standard_normal((1, 16, 16, 16)).astype(np.float32)
    model = norm_of(x.shape, 4, np.ones(16, np.float32), np.zeros(16, np.float32))
    assert norms_by_channel(model) == 1
    expected = torch.nn.functional.group_norm(torch.from_numpy(x), 4, eps=EPSILON).numpy()
    assert np.abs(run(model, x) - expected).max() < 1e-5
    assert expected.std() < 0.2


@pytest.mark.parametrize("shape", [(1, 8, 32, 32), (1, 96, 32, 32), (1, 32, 8, 8)])
def test_leaves_alone_what_gains_nothing(shape: tuple[int, int, int, int]):
    model = norm_of(shape, 4, np.ones(shape[1], np.float32), np.zeros(shape[1], np.float32))
    assert norms_by_channel(model) == 0
    assert "InstanceNormalization" in operators(model)


def test_a_component_draws_the_same_and_keeps_its_modules(emoji_exports):
    """The bundled decoder: 12 of its norms."""
    model = onnx_from_torch(emoji_exports.graphs, "vae_decoder")
    fuse(model, attention=False)
    before, modules = outputs(model), {node.name.rpartition("/")[0] for node in model.graph}
    assert norms_by_channel(model) == 12
    drop_unused_nodes(model)
    assert_equal(before, outputs(model))
    assert {node.name.rpartition("/")[0] for node in model.graph} <= modules
    assert operators(model)["ReduceMean"] == 4 * 12
