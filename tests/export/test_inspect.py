"""What inspect says, of every base, against what torch counts; read without torch."""

import subprocess
import sys
from pathlib import Path

import pytest

from edgestep.export.graph.skeleton import skeleton_from_config
from edgestep.export.inspect import export_bytes, inspect_checkpoint, text_from_inspection
from edgestep.export.source.checkpoint import open_source
from tests.families import FAMILIES

CASES = ("dmd2-sd15", "dmd2-sdxl-4step-lora", "sd-turbo-taesd", "lcm", "pixart-dmd", "sana-sprint-2step")


@pytest.fixture
def checkpoint(case: str, tmp_path: Path):
    return open_source(FAMILIES[case].make(tmp_path / "source"))


@pytest.mark.parametrize("case", CASES)
def test_sizes_are_those_of_torch(case, checkpoint):
    inspection = inspect_checkpoint(checkpoint)
    for part in inspection.components:
        module = skeleton_from_config(checkpoint.classes[part.name], checkpoint.configs[part.name])
        buffers = sum(b.numel() for name, b in module.named_buffers() if name in module.state_dict())
        assert part.parameters == sum(p.numel() for p in module.parameters()) + buffers
        assert part.kind == type(module).__name__
        assert part.bytes == sum(path.stat().st_size for path in checkpoint.weights[part.name])


@pytest.mark.parametrize("case", CASES)
def test_what_folds_is_what_the_export_folds(case, checkpoint):
    from edgestep.export.graph.graphs import Graphs

    inspection = inspect_checkpoint(checkpoint)
    graphs = Graphs(checkpoint, inspection.contract)
    graphs.captured(checkpoint.denoiser)
    assert inspection.folded_parameters == graphs.folded_parameters


@pytest.mark.parametrize("case", CASES)
def test_the_text_says_family_reason_formula_and_loop(case, checkpoint):
    inspection, row = inspect_checkpoint(checkpoint), FAMILIES[case]
    text = text_from_inspection(inspection)
    assert f"family {row.family}" in text
    assert f"because: {inspection.why}" in text
    assert inspection.timesteps == pytest.approx(row.timesteps, rel=1e-6)
    assert text.count("  then z = ") == len(row.timesteps) - 1
    for kind in checkpoint.classes.values():
        assert kind in text
    for path in (checkpoint.source.unet, checkpoint.source.lora, checkpoint.source.decoder):
        assert path is None or path.name in text
    assert ("every time_emb_proj stays" in text) == (row.base == "sdxl")
    assert ("told a guidance scale" in text) == (row.guidance_embedding is not None)


def test_the_estimate_follows_the_largest_tensor():
    assert export_bytes(0) == 600_000_000
    assert export_bytes(1_000_000) - export_bytes(0) == 16_000_000


@pytest.mark.parametrize("case", ["sdxl-lightning-1step", "sana-sprint"])
def test_inspecting_needs_no_torch(case, tmp_path):
    FAMILIES[case].make(tmp_path)
    folder = "base" if case.startswith("sdxl") else "model"
    unet = f"Path({str(tmp_path / 'sdxl_lightning_1step_unet_x0.safetensors')!r})" if folder == "base" else "None"
    script = (
        "import sys\nfrom pathlib import Path\nfrom edgestep.export.source.checkpoint import open_source\n"
        "from edgestep.export.source.source import Source\nfrom edgestep.export.inspect import inspect_checkpoint\n"
        f"source = Source(Path({str(tmp_path / folder)!r}), unet={unet})\n"
        "print(inspect_checkpoint(open_source(source)).family)\n"
        "assert not {'torch', 'diffusers', 'onnx'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == FAMILIES[case].family
