"""Families of every base as Core ML packages, run by the evaluator, against their published recipes in diffusers."""

import numpy as np
import pytest

from edgestep.export.coreml.options import CoreMLOptions
from edgestep.export.run import export
from edgestep.export.source.checkpoint import open_source
from edgestep.harness.reference.torch_one_step import TorchOneStep
from edgestep.runtimes.drawing import Drawer
from tests.export.conftest import sqnr_db, worst_level
from tests.export.packages import counted, spec_of
from tests.families import FAMILIES

pytest.importorskip("coremltools")

PROMPT = "A photo of a Cat, on the moon!"
APPLE = {"TextEncoder.mlpackage", "TextEncoder2.mlpackage", "Unet.mlpackage", "VAEDecoder.mlpackage"}
LOOP = {"text_encoder.mlpackage", "text_encoder_2.mlpackage", "vae_decoder.mlpackage"} | {
    f"unet{step}.mlpackage" for step in ("", "_2", "_3", "_4")
}
TRANSFORMER = {"text_encoder.mlpackage", "transformer.mlpackage", "vae_decoder.mlpackage"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "files", "attention"),
    [
        ("sd-turbo", APPLE - {"TextEncoder2.mlpackage"}, "split-einsum"),
        ("sd-turbo-taesd", APPLE - {"TextEncoder2.mlpackage"}, "sdpa"),
        ("dmd2-sdxl-1step", APPLE, "plain"),
        ("dmd2-sdxl-1step", APPLE, "split-einsum"),
        ("dmd2-sdxl-4step", LOOP, "split-einsum"),
        ("pixart-dmd", TRANSFORMER, "sdpa"),
        ("sana-sprint", TRANSFORMER, "plain"),
    ],
)
@pytest.mark.parametrize("layout", ["split", "fused"])
def test_it_draws_what_its_recipe_draws(name, files, attention, layout, tmp_path):
    case = FAMILIES[name]
    source = case.make(tmp_path / "source")
    noise, more_noise = case.noise()
    expected = case.recipe(source, PROMPT, noise, more_noise)
    inputs = TorchOneStep(source, contract=case.contract()).inputs(PROMPT)
    loop = {"more_noise": more_noise.numpy()} if len(more_noise) else {}
    made = export(
        open_source(source),
        format="coreml",
        precision="fp16",
        layout=layout,
        target="mac",
        out=tmp_path / "made",
        coreml=CoreMLOptions(attention, "all", "iOS18"),
    )
    assert {c.file for c in made.components} == (files if layout == "split" else {"generator.mlpackage"})
    with Drawer(tmp_path / "made", runtime="mil-evaluator") as drawer:
        drawing = drawer.draw(**inputs, noise=noise.numpy(), **loop)
    assert layout == "fused" or sqnr_db(expected.x0.numpy(), drawing.x0) >= 50
    assert worst_level(np.round(255 * expected.image), drawing.image) <= 2


@pytest.mark.slow
def test_sdxl_feeds_and_gives_what_apples_package_does(tmp_path):
    source = FAMILIES["dmd2-sdxl-1step"].make(tmp_path / "source")
    export(open_source(source), format="coreml", precision="fp16", layout="split", target="mac", out=tmp_path / "made")
    described = {file: spec_of(tmp_path / "made" / file).description for file in APPLE}
    unet = described["Unet.mlpackage"]
    shapes = {f.name: tuple(f.type.multiArrayType.shape) for f in unet.input}
    assert list(shapes) == ["sample", "timestep", "encoder_hidden_states", "time_ids", "text_embeds"]
    assert (shapes["timestep"], shapes["time_ids"]) == ((1,), (1, 6))
    assert shapes["encoder_hidden_states"][2:] == (1, 77)
    for encoder in ("TextEncoder.mlpackage", "TextEncoder2.mlpackage"):
        assert {f.name for f in described[encoder].output} == {"hidden_embeds", "pooled_outputs"}
    assert not counted(tmp_path / "made/Unet.mlpackage")["einsum"]
    assert not (tmp_path / "made/model_index.json").exists()
