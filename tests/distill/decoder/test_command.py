"""From a checkpoint to a folder that export takes in place of the VAE, and the bad input on the way."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import AutoencoderTiny

from edgestep.artifact import BadInput, read_artifact
from edgestep.distill.data.about import DataInfo
from edgestep.distill.data.shard_files import Block
from edgestep.distill.data.shards import write_shards
from edgestep.distill.decoder.command import blocks_from_text, distill_decoder, licence_of, line_of
from edgestep.distill.evaluation.classifier import ClassifierConfig, PictureClassifier, save_classifier
from edgestep.export.run import export
from edgestep.export.source.checkpoint import open_source
from edgestep.export.source.source import Source
from edgestep.runtimes.drawing import Drawer
from tests.distill.decoder.conftest import MINI
from tests.tiny import save_tiny_checkpoint


@pytest.fixture(scope="module")
def made(checkpoint, workers, tmp_path_factory):
    out = tmp_path_factory.mktemp("made") / "mini-tiny"
    said = []
    measures = distill_decoder(checkpoint, out, recipe=MINI, workers=workers, tell=said.append)
    return out, measures, said


def test_the_folder_states_what_it_is(made):
    out, measures, said = made
    assert {path.name for path in out.iterdir()} == {
        "config.json", "diffusion_pytorch_model.safetensors", "README.md", "measures.json"
    }  # fmt: skip
    card = (out / "README.md").read_text()
    assert "license: cc-by-4.0" in card
    assert "**It is an\napproximation**" in card
    assert f"{measures.psnr_db:.2f} dB" in card
    assert json.loads((out / "measures.json").read_text())["measures"]["ssim"] == measures.ssim
    assert said[-1] == line_of(measures)
    assert said[-1].startswith("an approximation of the VAE decoder: ")
    assert out.with_name("mini-tiny.work").joinpath("decoder.state.pt").exists()


@pytest.mark.slow
def test_export_takes_it_and_the_runtime_draws_what_torch_does(made, checkpoint, source, tmp_path):
    out, *_ = made
    opened = open_source(Source(checkpoint, decoder=out, family="dmd2-sd15"))
    export(opened, format="onnx", precision="fp32", layout="split", target="cpu", out=tmp_path / "onnx")
    contract = read_artifact(tmp_path / "onnx").contract
    tiny = AutoencoderTiny.from_pretrained(out, torch_dtype=torch.float32)
    assert contract.decoder == "tiny"
    assert contract.latent_scale == tiny.config["scaling_factor"] == 1
    noise = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(3))
    ids = source.input_ids[:1]
    with Drawer(tmp_path / "onnx") as drawer:
        picture = drawer.draw(ids.numpy(), noise.numpy()).image
    with torch.no_grad():
        sample = tiny.decode(source.draw(noise, ids)).sample
    expected = (sample / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1).numpy() * 255
    assert np.abs(picture.astype(float) - expected).max() < 1.0


def test_a_run_of_another_checkpoint_or_recipe_is_not_gone_on_with(made, checkpoint, workers, tmp_path):
    work = made[0].with_name("mini-tiny.work")
    fewer = replace(MINI, measured=3)
    again = distill_decoder(checkpoint, tmp_path / "again", work=work, recipe=fewer, workers=workers)
    assert again is not None
    assert again.pictures == 3
    weights = [folder / "diffusion_pytorch_model.safetensors" for folder in (made[0], tmp_path / "again")]
    assert weights[0].read_bytes() == weights[1].read_bytes()
    with pytest.raises(BadInput, match="begun with another batch and lr;"):
        changed = replace(MINI, batch=8, lr=1e-3)
        distill_decoder(checkpoint, tmp_path / "out", work=work, recipe=changed, workers=workers)
    save_tiny_checkpoint(tmp_path / "other", seed=1)
    (tmp_path / "other" / "prompts.txt").write_text("cat face\n")
    with pytest.raises(BadInput, match="begun with another checkpoint;"):
        distill_decoder(tmp_path / "other", tmp_path / "out", work=work, recipe=MINI, workers=workers)
    (tmp_path / "decoder.json").write_text("[")
    with pytest.raises(BadInput, match="cannot be read"):
        distill_decoder(checkpoint, tmp_path / "out", work=tmp_path, recipe=MINI, workers=workers)


def test_a_finished_folder_is_not_written_over(made, checkpoint, workers):
    with pytest.raises(BadInput, match="not empty"):
        distill_decoder(checkpoint, made[0], recipe=MINI, workers=workers)


@pytest.mark.parametrize(
    ("change", "said"),
    [({"steps": 0}, "--steps 0"), ({"batch": 0}, "--batch 0"), ({"measured": 0}, "--measured 0"),
     ({"ahead": 0}, "--ahead 0"), ({"flops": 0.0}, "--flops 0"), ({"flops": float("nan")}, "--flops nan"),
     ({"channels": -1}, "--channels -1"), ({"lr": -1.0}, "--lr -1"), ({"lr": float("nan")}, "--lr nan"),
     ({"blocks": (1, 0, 0)}, "2 numbers")],
)  # fmt: skip
def test_a_recipe_that_cannot_be_is_refused(checkpoint, workers, tmp_path, change, said):
    with pytest.raises(BadInput, match=said):
        distill_decoder(checkpoint, tmp_path / "out", recipe=replace(MINI, **change), workers=workers)
    assert not (tmp_path / "out").exists()


def test_other_folders_are_refused(tiny, tmp_path, workers):
    def refused(folder, said: str) -> None:
        with pytest.raises(BadInput, match=said) as caught:
            distill_decoder(folder, tmp_path / "out", recipe=MINI, workers=workers)
        assert "\n" not in str(caught.value)

    refused(tiny, "no prompts in .*prompts.txt")
    refused(tmp_path, "no readable model_index.json")
    other = tmp_path / "other"
    other.mkdir()
    (other / "model_index.json").write_text('{"_class_name": "PixArtAlphaPipeline"}')
    (other / "prompts.txt").write_text("a\n")
    refused(other, "got a PixArtAlphaPipeline")
    (other / "model_index.json").write_text('{"_class_name": "StableDiffusionPipeline"}')
    refused(other, "cannot be loaded")


def test_a_judge_gives_the_frechet_distance(source, checkpoint, workers, tmp_path):
    judge = PictureClassifier(ClassifierConfig(("heart", "cat"), channels=(8, 8), features=4, picture_size=16))
    save_classifier(judge, tmp_path / "judge", "A judge.\n")
    measures = distill_decoder(checkpoint, tmp_path / "out", judge=tmp_path / "judge", recipe=MINI, workers=workers)
    assert measures is not None
    assert measures.frechet is not None
    assert measures.frechet > 0
    assert measures.frechet_apart is not None
    assert f"Fréchet distance {measures.frechet:.4g}" in line_of(measures)
    assert f"| {measures.frechet:.4g} (two halves" in (tmp_path / "out" / "README.md").read_text()
    with pytest.raises(BadInput, match="no classifier"):
        distill_decoder(checkpoint, tmp_path / "no", judge=tmp_path, recipe=MINI, workers=workers)


def test_data_is_opened_and_told_of(checkpoint, source, workers, tmp_path):
    info = DataInfo((4, 8, 8), float(source.vae.config["scaling_factor"]), source.input_ids.shape[1])
    ids = source.input_ids[:1].expand(8, -1)
    block = Block(torch.randn(8, 4, 8, 8), ids, ("a red heart",) * 8)
    write_shards(tmp_path / "data", info, 8, lambda items: block)
    distill_decoder(checkpoint, tmp_path / "out", data=tmp_path / "data", recipe=MINI, workers=workers)
    assert "a share of 0.5 from the data" in (tmp_path / "out" / "README.md").read_text()


def test_prompts_of_a_file(checkpoint, workers, tmp_path):
    with pytest.raises(BadInput, match="cannot be read"):
        distill_decoder(checkpoint, tmp_path / "out", prompts=tmp_path / "none", recipe=MINI, workers=workers)
    (tmp_path / "blank").write_text("\n \n")
    with pytest.raises(BadInput, match="holds no prompts"):
        distill_decoder(checkpoint, tmp_path / "out", prompts=tmp_path / "blank", recipe=MINI, workers=workers)


def test_blocks_are_numbers_with_commas():
    assert blocks_from_text("3,3,3,1") == (3, 3, 3, 1)
    with pytest.raises(BadInput, match="--blocks 3,x"):
        blocks_from_text("3,x")


def test_the_licence_is_the_checkpoint_s(checkpoint, tmp_path):
    assert licence_of(checkpoint) == "cc-by-4.0"
    assert licence_of(tmp_path) == "unknown"
    (tmp_path / "README.md").write_text("no front matter\nlicense: mit\n")
    assert licence_of(tmp_path) == "unknown"
