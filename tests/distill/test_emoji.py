"""The whole distillation on eight toy pictures, killed and resumed."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors.numpy import save_file

from edgestep.artifact import BadInput
from edgestep.distill.emoji import distill_emoji
from edgestep.distill.recipe import EmojiRecipe

MINI = EmojiRecipe(
    picture_size=32,
    canvas_size=48,
    latent_size=4,
    autoencoder_channels=(8, 8, 16, 16),
    unet_channels=(16, 32, 32),
    text_width=32,
    text_layers=1,
    attention_heads=2,
    vocabulary=560,
    autoencoder_steps=3,
    autoencoder_batch=4,
    variants=2,
    teacher_steps=3,
    teacher_batch=4,
    teacher_nfe_steps=2,
    pairs=128,
    pair_steps=1,
    regression_steps=2,
    matching_steps=2,
    student_batch=4,
    fake_updates=2,
)


def write_toy_data(work: Path) -> None:
    rng = np.random.default_rng(0)
    work.mkdir(parents=True)
    concepts, styles = ["red heart", "blue square"], ["noto", "classic", "fluent", "twemoji"]
    pictures = rng.integers(0, 255, (8, 3, 48, 48), dtype=np.uint8)
    save_file({"pictures": pictures}, work / "pictures.safetensors")
    about = {style: {"version": "1", "licence": "MIT"} for style in styles}
    rows = [[concept, style] for concept in concepts for style in styles]
    card = {"concepts": concepts, "styles": styles, "packages": about, "rows": rows}
    (work / "captions.json").write_text(json.dumps(card))


def log_of(work: Path, stage: str) -> dict[str, torch.Tensor]:
    state = torch.load(work / f"{stage}.state.pt", weights_only=True)
    return {k: v for k, v in state["parts"]["average"].items() if k.startswith("module.")}


def test_distill_resumes_bit_for_bit_and_saves_a_pipeline(tmp_path: Path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    for work in (whole, broken):
        write_toy_data(work)
    distill_emoji(whole, recipe=MINI, out=tmp_path / "emoji")

    # the same in pieces: a first run is stopped by the step count, and the rest resumed, schedule unchanged
    from edgestep.distill import loop

    plain = loop.run

    def killed_after_two(training, step):
        def dying(i, generator):
            if i == 2:
                training.save()
                raise KeyboardInterrupt
            return step(i, generator)

        plain(training, dying)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("edgestep.distill.autoencoder.run", killed_after_two)
        with pytest.raises(KeyboardInterrupt):
            distill_emoji(broken, recipe=MINI)
    distill_emoji(broken, recipe=MINI)
    for stage in ("autoencoder", "teacher", "matching"):
        first, second = log_of(whole, stage), log_of(broken, stage)
        assert first.keys() == second.keys()
        assert all(torch.equal(first[k], second[k]) for k in first), stage

    pipeline = StableDiffusionPipeline.from_pretrained(
        tmp_path / "emoji", safety_checker=None, torch_dtype=torch.float32
    )
    pipeline.set_progress_bar_config(disable=True)
    picture = pipeline("red heart", num_inference_steps=1, guidance_scale=1.0, output_type="np").images
    assert picture.shape == (1, 32, 32, 3)
    assert np.isfinite(picture).all()
    card = (tmp_path / "emoji" / "README.md").read_text()
    assert "CC-BY-4.0" in card or "MIT" in card
    assert "student, 1 step" in card


def test_state_of_another_config_is_refused(tmp_path: Path):
    write_toy_data(tmp_path / "work")
    distill_emoji(tmp_path / "work", recipe=MINI, until="autoencoder")
    other = dataclasses.replace(MINI, autoencoder_channels=(8, 16, 16, 16), autoencoder_steps=5)
    with pytest.raises(BadInput, match="another config"):
        distill_emoji(tmp_path / "work", recipe=other, until="autoencoder")


def test_unknown_stage_is_refused(tmp_path: Path):
    with pytest.raises(BadInput, match="expected one of data"):
        distill_emoji(tmp_path, until="everything")
