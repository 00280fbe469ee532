"""The tiny checkpoint as float artifacts, and prompts that its tokenizer knows."""

from collections.abc import Callable
from pathlib import Path

import pytest

from edgestep.artifact import read_artifact
from edgestep.search.trials import Setting

PROMPTS = ("red heart", "cat face", "green apple")


@pytest.fixture(scope="session")
def float_artifact(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Path]:
    """Return (format, layout) -> the folder of the tiny checkpoint's fp32 export, made when first asked for."""
    from edgestep.export.graph.graphs import Graphs
    from edgestep.export.recipe.contract import contract_from_checkpoint
    from edgestep.export.run import export
    from edgestep.export.source.checkpoint import open_checkpoint

    checkpoint = open_checkpoint(tiny)
    graphs = Graphs(checkpoint, contract_from_checkpoint(checkpoint))
    root = tmp_path_factory.mktemp("floats")

    def folder(form: str, layout: str) -> Path:
        out = root / f"{form}-{layout}"
        if not out.exists():
            target = {"onnx": "x86", "openvino": "intel"}[form]
            export(checkpoint, format=form, precision="fp32", layout=layout, target=target, out=out, graphs=graphs)
        return out

    return folder


def setting_of(folder: Path, cases: int = 2, calibration: int = 2) -> Setting:
    """Return a small setting of the artifact in `folder`."""
    key = read_artifact(folder, verify=False).key
    return Setting(str(folder), key, PROMPTS, cases, calibration)
