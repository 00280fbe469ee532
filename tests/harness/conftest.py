"""Bundles and artifacts of the tiny checkpoint, made once."""

from pathlib import Path

import pytest

from edgestep.harness.reference.bundle import Reference, read_reference
from edgestep.harness.reference.record import record_reference
from edgestep.harness.reference.torch_one_step import TorchOneStep
from tests.exports import Exports
from tests.harness.mutants.good import Emoji
from tests.harness.tapped import Tapped, tapped_from_emoji
from tests.made_once import made_once, session_folder

PROMPTS = ("a red heart", "grinning face", "cat face", "green apple")


@pytest.fixture(scope="session")
def torch_tiny(tiny: Path) -> TorchOneStep:
    return TorchOneStep(tiny)


@pytest.fixture(scope="session")
def bundle_folder(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    def record(out: Path) -> None:
        record_reference(tiny, device="cpu", cases=8, out=out, prompts=PROMPTS)

    return made_once(session_folder(tmp_path_factory) / "references" / "tiny", record)


@pytest.fixture(scope="session")
def reference(bundle_folder: Path) -> Reference:
    return read_reference(bundle_folder)


@pytest.fixture(scope="session")
def emoji_made(emoji_exports: Exports, tmp_path_factory: pytest.TempPathFactory) -> Emoji:
    """The bundled generator's fp32 artifacts and a bundle of 8 cases, each made when it is first asked for."""
    return Emoji(session_folder(tmp_path_factory) / "emoji", emoji_exports)


@pytest.fixture(scope="session")
def tapped(emoji_made: Emoji, tmp_path_factory: pytest.TempPathFactory) -> Tapped:
    """The emoji artifacts, their bundle, and the taps of its first case."""
    return tapped_from_emoji(emoji_made, tmp_path_factory.mktemp("taps"))


@pytest.fixture(scope="session")
def split_folder(tiny_exports: Exports) -> Path:
    return tiny_exports("onnx", "split")


@pytest.fixture(scope="session")
def fused_folder(tiny_exports: Exports) -> Path:
    return tiny_exports("onnx", "fused")
