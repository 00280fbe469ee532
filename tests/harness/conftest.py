"""Bundles and artifacts of the tiny checkpoint, made once."""

from pathlib import Path

import pytest

from edgestep.harness.reference.bundle import Reference, read_reference
from edgestep.harness.reference.record import record_reference
from edgestep.harness.reference.torch_one_step import TorchOneStep
from tests.harness.mutants.good import Emoji
from tests.harness.tapped import Tapped, tapped_from_emoji

PROMPTS = ("a red heart", "grinning face", "cat face", "green apple")


@pytest.fixture(scope="session")
def torch_tiny(tiny: Path) -> TorchOneStep:
    return TorchOneStep(tiny)


@pytest.fixture(scope="session")
def bundle_folder(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reference") / "tiny"
    record_reference(tiny, device="cpu", cases=8, out=folder, prompts=PROMPTS)
    return folder


@pytest.fixture(scope="session")
def reference(bundle_folder: Path) -> Reference:
    return read_reference(bundle_folder)


@pytest.fixture(scope="session")
def artifacts(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `split` and `fused`: ONNX fp32."""
    from edgestep.export.graph.graphs import Graphs
    from edgestep.export.recipe.contract import contract_from_checkpoint
    from edgestep.export.run import export
    from edgestep.export.source.checkpoint import open_checkpoint

    folder, checkpoint = tmp_path_factory.mktemp("artifacts"), open_checkpoint(tiny)
    graphs = Graphs(checkpoint, contract_from_checkpoint(checkpoint), lambda _: None)  # captured once for both
    for layout in ("split", "fused"):
        out = folder / layout
        export(checkpoint, format="onnx", precision="fp32", layout=layout, target="x86", out=out, graphs=graphs)
    return folder


@pytest.fixture(scope="session")
def emoji_made(tmp_path_factory: pytest.TempPathFactory) -> Emoji:
    """The bundled generator's fp32 artifacts and a bundle of 8 cases, each made when it is first asked for."""
    return Emoji(tmp_path_factory.mktemp("emoji"))


@pytest.fixture(scope="session")
def tapped(emoji_made: Emoji, tmp_path_factory: pytest.TempPathFactory) -> Tapped:
    """The emoji artifacts, their bundle, and the taps of its first case."""
    return tapped_from_emoji(emoji_made, tmp_path_factory.mktemp("taps"))


@pytest.fixture(scope="session")
def split_folder(artifacts: Path) -> Path:
    return artifacts / "split"


@pytest.fixture(scope="session")
def fused_folder(artifacts: Path) -> Path:
    return artifacts / "fused"
