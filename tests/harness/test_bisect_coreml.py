"""Bisection of Core ML packages on the evaluator: the sound one is clean, each damaged layer is named, and no other."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgestep.artifact import BadInput
from edgestep.harness.bisection.bisect import bisect_artifact
from edgestep.harness.bisection.module_names import named_after_modules
from edgestep.harness.reference.taps import OUT, Tap
from edgestep.runtimes.probe import GraphNode, GraphView
from tests.harness.edited import edited as edited_manifest
from tests.harness.mutants.coreml_package import Package, edited
from tests.harness.mutants.mutant import COREML, Mutant, damaged
from tests.harness.tapped import Tapped

pytest.importorskip("coremltools")

BLOCK = "unet.up_blocks.1.attentions.1.transformer_blocks.0"


def _weight(module: str, change: Callable[[np.ndarray], np.ndarray], kind: str = "weight") -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        with edited(folder, module.split(".", maxsplit=1)[0]) as package:
            values = package.floats(f"p_{module.replace('.', '_')}_{kind}")
            values[...] = change(values.copy())

    return make


def _program(graph: str, change: Callable[[Package], None]) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        with edited(folder, graph) as package:
            change(package)

    return make


def _noisy(array: np.ndarray) -> np.ndarray:
    noise = np.random.default_rng(0).standard_normal(array.shape)
    return (array + 0.01 * array.std() * noise).astype(array.dtype)


def _one_bit_flipped(array: np.ndarray) -> np.ndarray:
    array.reshape(-1).view(np.uint32)[np.abs(array).argmax()] ^= np.uint32(1 << 26)
    return array


def _first_group_norm(package: Package) -> None:
    package.immediate(package.read(package.of_type("instance_norm")[0], "epsilon"))[:] = [1e-3]


def _tanh(package: Package) -> None:
    package.immediate(package.read(package.of_type("gelu")[0], "mode"))[:] = ["TANH_APPROXIMATION"]


DAMAGES = {
    "noise": ("unet.down_blocks.1.resnets.0.conv1", "Conv", _noisy),
    "channels swapped": ("unet.up_blocks.1.resnets.0.conv2", "Conv", lambda array: np.roll(array, 1, 0)),
    "one bit flipped": ("vae.decoder.up_blocks.1.resnets.0.conv1", "Conv", _one_bit_flipped),
    "projection swapped": (f"{BLOCK}.ff.net.2", "MatMul", lambda array: np.roll(array, 1, 1)),
    "zeroed": ("unet.mid_block.attentions.0.transformer_blocks.0.attn2.to_v", "MatMul", np.zeros_like),
}
"""What is done to a weight: its module and operator, which must be named."""
PROGRAMS = {
    "norm epsilon": ("unet.down_blocks.0.resnets.0.norm1", "InstanceNormalization", _first_group_norm),
    "gelu tanh": ("unet.down_blocks.0.attentions.0.transformer_blocks.0.ff.net.0", "Gelu", _tanh),
}
"""What is done to the program."""
MAKES = {name: _weight(module, change) for name, (module, _, change) in DAMAGES.items()} | {
    name: _program("unet", change) for name, (_, _, change) in PROGRAMS.items()
}


def test_the_sound_packages_have_no_suspect(tapped: Tapped):
    emoji, reference, taps = tapped
    found = bisect_artifact(emoji.artifact(COREML), reference, taps, threads=1)
    assert found.suspects == () and found.runtime == "mil-evaluator"
    assert len(found.taps) > 400
    assert min(tap.local_db for tap in found.taps) > 103
    assert {tap.component for tap in found.taps} == {"text_encoder", "unet", "vae_decoder"}


QUICK = ("noise", "one bit flipped", "norm epsilon", "gelu tanh")


@pytest.mark.parametrize("name", [pytest.param(n, marks=() if n in QUICK else pytest.mark.slow) for n in MAKES])
def test_the_damaged_layer_is_named(tapped: Tapped, tmp_path: Path, name: str):
    emoji, reference, taps = tapped
    module, op, _ = {**DAMAGES, **PROGRAMS}[name]
    with damaged(emoji.artifact(COREML), Mutant(name, MAKES[name], (COREML,)), tmp_path / "mutant") as folder:
        found = bisect_artifact(folder, reference, taps, threads=1)
    assert [(tap.module, tap.op) for tap in found.suspects] == [(module, op)]


def test_what_cannot_be_compared_is_refused(tapped: Tapped, tmp_path: Path):
    emoji, reference, taps = tapped
    folder = edited_manifest(emoji.artifact(COREML), tmp_path / "artifact", options={"attention": "split-einsum"})
    with pytest.raises(BadInput, match="split-einsum attention"):
        bisect_artifact(folder, reference, taps, threads=1)
    shutil.rmtree(folder)


def _view(*nodes: GraphNode) -> GraphView:
    shapes = {value: (1, 4, 2, 2) for node in nodes for value in node.outputs}
    return GraphView(nodes, ("x",), {}, shapes, frozenset({"p_net_a_1_weight_to_fp16", "eps"}))


def _tap(module: str, order: int) -> Tap:
    return Tap("net", module, OUT, 0, True, (1, 4, 2, 2), {"case-00": f"{order}"})


def test_names_are_found_by_parameter_then_by_the_longest_beginning():
    view = _view(
        GraphNode("linear_0_cast_fp16", "MatMul", ("x", "p_net_a_1_weight_to_fp16"), ("u",)),
        GraphNode("net_a_10_cast_fp16", "Conv", ("u",), ("v",)),
        GraphNode("net_a_add", "Add", ("v", "u"), ("w",)),
        GraphNode("net_a_add_1", "Add", ("w", "u"), ("y",)),
    )
    taps = [_tap(name, i) for i, name in enumerate(("net.a", "net.a.1", "net.a.10"))]
    named = named_after_modules(view, taps)
    assert [node.name for node in named.nodes] == ["net.a.1/MatMul", "net.a.10/Conv", "net.a/Add", "net.a/Add_2"]
    assert named_after_modules(named, taps) is named  # as they stand, where there is a slash


def test_group_norms_are_told_by_their_order_or_not_at_all():
    chain = [
        GraphNode("square_0", "Square", ("x",), ("s",)),
        GraphNode("sqrt_0", "Sqrt", ("s",), ("r",)),
        GraphNode("real_div_0", "Div", ("x", "r"), ("n",)),
        GraphNode("net_act_silu", "Swish", ("n",), ("y",)),
    ]
    taps = [_tap("net.norm1", 0), _tap("net.act", 1)]
    parts = ["net.norm1/Square", "net.norm1/Sqrt", "net.norm1/Div", "net.act/Swish"]
    assert [node.name for node in named_after_modules(_view(*chain), taps).nodes] == parts
    two = [*taps, _tap("net.norm2", 2)]  # another number of norms than of roots
    assert [node.name for node in named_after_modules(_view(*chain), two).nodes][:3] == [
        "square_0",
        "sqrt_0",
        "real_div_0",
    ]
    wide = [replace(taps[0], shape=(1, 4, 3, 3)), taps[1]]
    assert named_after_modules(_view(*chain), wide).nodes[0].name == "square_0"
