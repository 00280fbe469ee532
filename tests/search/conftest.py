"""The tiny checkpoint as float artifacts, and prompts that its tokenizer knows."""

from pathlib import Path

import pytest

from edgestep.artifact import read_artifact
from edgestep.search.trials import Setting
from tests.exports import Exports

PROMPTS = ("red heart", "cat face", "green apple")


@pytest.fixture(scope="session")
def float_artifact(tiny_exports: Exports) -> Exports:
    """(format, layout) -> the folder of the tiny checkpoint's fp32 export, made when first asked for."""
    return tiny_exports


def setting_of(folder: Path, cases: int = 2, calibration: int = 2) -> Setting:
    """Return a small setting of the artifact in `folder`."""
    key = read_artifact(folder, verify=False).key
    return Setting(str(folder), key, PROMPTS, cases, calibration)
