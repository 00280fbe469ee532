"""What computes in float32 in a float16 package is found by module: on modules made up for it, one of each kind."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from edgestep.export.coreml.islands import FLOAT32, in_float16, name_nodes
from edgestep.export.graph.norms import group_norm_by_instances
from edgestep.mlpackage.tools import import_coremltools, silenced
from edgestep.runtimes.mil_evaluator import MilEvaluator

pytestmark = pytest.mark.slow

pytest.importorskip("coremltools")


class RootMeanSquare(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * torch.rsqrt((x * x).mean(-1, keepdim=True) + 1e-6)


class Centred(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        centred = x - x.mean(-1, keepdim=True)
        return centred * torch.rsqrt((centred * centred).mean(-1, keepdim=True) + 1e-6)


class LinearAttention(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.matmul(x, torch.matmul(x.transpose(1, 2), x)) / (x.sum(-1, keepdim=True) + 9)


class Attention(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.matmul(torch.softmax(torch.matmul(x, x.transpose(1, 2)) / 3, -1), x)


class Everything(nn.Module):
    """F = unet(k_in z); x0 = k_z z - k_e F; a picture of it, decoded and scaled."""

    def __init__(self) -> None:
        super().__init__()
        parts = [RootMeanSquare(), Centred(), LinearAttention(), Attention(), nn.Linear(8, 8)]
        names = ["rms", "centred", "linear_attention", "attention", "proj"]
        self.unet = nn.ModuleDict({"conv_in": nn.Linear(8, 8), **dict(zip(names, parts, strict=True))})
        self.unet["conv_out"] = nn.Linear(8, 8)
        self.vae = nn.ModuleDict({"conv_in": nn.Linear(8, 8), "conv_out": nn.Linear(8, 8)})

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        x = 0.9 * z
        for part in self.unet.values():
            x = part(x)
        x0 = 1.2 * z - 0.7 * x
        return self.vae["conv_out"](self.vae["conv_in"](x0 / 0.18)) * 127.5 + 127.5


@pytest.fixture
def named() -> dict[str, bool]:
    """Operation's name -> whether it is to stay in float32."""
    program: Any = torch.export.export(Everything().eval(), (torch.zeros(1, 5, 8),)).run_decompositions({})
    name_nodes(program)
    calls = [node for node in program.graph.nodes if node.op == "call_function"]
    return {node.name: node.meta["stack_trace"].startswith(FLOAT32) for node in calls}


def parts_of(named: dict[str, bool], start: str) -> set[bool]:
    found = {float32 for name, float32 in named.items() if name.startswith(start)}
    assert found, start
    return found


@pytest.mark.parametrize("part", ["unet_conv_in", "unet_conv_out", "unet_rms", "unet_linear_attention", "formula"])
def test_what_amplifies_or_sums_stays_in_float32(named, part):
    assert parts_of(named, part) == {True}


@pytest.mark.parametrize(
    "part", ["unet_centred", "unet_attention", "unet_proj", "vae_conv_in", "vae_conv_out", "picture"]
)
def test_all_else_is_halved(named, part):
    assert parts_of(named, part) == {False}


def test_the_formula_is_what_comes_before_the_decoder(named):
    assert sorted(name for name in named if name.startswith("formula")) == [
        "formula_div",
        "formula_mul",
        "formula_mul_1",
        "formula_mul_2",
        "formula_sub",
    ]
    assert sorted(name for name in named if name.startswith("picture")) == ["picture_add", "picture_mul"]


@pytest.mark.parametrize("shape", [(2, 8, 5, 3), (2, 8, 7)])
@pytest.mark.parametrize("affine", [True, False])
def test_a_group_norm_by_instances_is_a_group_norm(shape, affine):
    torch.manual_seed(0)
    x = torch.randn(shape, dtype=torch.float64) * 3 + 1
    weight, bias = (
        (torch.randn(8, dtype=torch.float64), torch.randn(8, dtype=torch.float64)) if affine else (None, None)
    )
    expected = nn.functional.group_norm(x, 4, weight, bias, 1e-3)
    torch.testing.assert_close(group_norm_by_instances(x, 4, weight, bias, 1e-3), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("by_instances", "finite"), [(True, True), (False, False)])
def test_its_squares_do_not_leave_float16s_range(tmp_path, by_instances, finite):
    """Taken apart by coremltools, the norm of numbers in the thousands is 0: x / inf."""
    ct = import_coremltools()
    module = nn.Sequential(nn.GroupNorm(2, 4), nn.Identity()).eval()
    table = {torch.ops.aten.group_norm.default: group_norm_by_instances} if by_instances else {}
    program = torch.export.export(module, (torch.zeros(1, 4, 8, 8),)).run_decompositions(table)
    name_nodes(program)
    with silenced():
        model = ct.convert(
            program,
            minimum_deployment_target=ct.target.iOS17,
            inputs=[ct.TensorType(name="x", shape=(1, 4, 8, 8), dtype=np.float32)],
            outputs=[ct.TensorType(name="out", dtype=np.float32)],
            compute_precision=ct.transform.FP16ComputePrecision(op_selector=in_float16),
            skip_model_load=True,
        )
        model.save(str(tmp_path / "norm.mlpackage"))
    x = np.random.default_rng(0).standard_normal((1, 4, 8, 8), dtype=np.float32) * 3000
    with MilEvaluator(tmp_path / "norm.mlpackage") as session:
        out = session.run({"x": x})["out"]
        assert (session.overflow is None) == finite
    expected = module(torch.from_numpy(x)).detach().numpy()
    assert np.allclose(out, expected, atol=2e-2) == finite
