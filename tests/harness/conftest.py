"""Bundles and artifacts of the tiny checkpoint, made once."""

from pathlib import Path

import pytest

from edgestep.harness.bundle import Reference, read_reference
from edgestep.harness.reference import record_reference
from edgestep.harness.torch_one_step import TorchOneStep

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
def split_folder(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _export(tiny, tmp_path_factory, "split")


@pytest.fixture(scope="session")
def fused_folder(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _export(tiny, tmp_path_factory, "fused")


def _export(tiny: Path, tmp_path_factory: pytest.TempPathFactory, layout: str) -> Path:
    from edgestep.export.checkpoint import open_checkpoint
    from edgestep.export.run import export

    out = tmp_path_factory.mktemp("artifacts") / layout
    export(open_checkpoint(tiny), format="onnx", precision="fp32", layout=layout, target="x86", out=out)
    return out
