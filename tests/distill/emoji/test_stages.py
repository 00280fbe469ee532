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
from edgestep.distill import loop
from edgestep.distill.config import Config
from edgestep.distill.emoji.judging import add_to_curve
from edgestep.distill.emoji.pictures import MORE_FILE
from edgestep.distill.emoji.stages import distill_emoji
from edgestep.distill.evaluation.sizes import Sizes
from edgestep.distill.workers import Workers
from tests.distill.evaluation.toys import CONCEPTS, TINY

MINI = dataclasses.replace(
    TINY,
    autoencoder_steps=3,
    autoencoder_batch=4,
    variants=2,
    teacher_steps=3,
    teacher_batch=4,
    teacher_nfe_steps=4,
    judge_steps=3,
    judge_batch=8,
    student=Config(batch=4, pairs=8, pair_steps=1, regression_steps=2, matching_steps=2, fake_updates=2, look_every=1),
)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch):
    """Small blocks of pairs; an evaluation and looks of a few pictures."""
    monkeypatch.setattr("edgestep.distill.pairs.BLOCK", 8)
    few = Sizes(pictures=8, held_out=4, diversity_prompts=2, diversity_seeds=2, batch=8, turns=1, resamples=3)
    monkeypatch.setattr("edgestep.distill.emoji.stages.Sizes", lambda **_: few)


def write_toy_data(work: Path) -> None:
    rng = np.random.default_rng(0)
    work.mkdir(parents=True)
    styles = ["noto", "classic", "fluent", "twemoji"]
    pictures = rng.integers(0, 255, (4 * len(CONCEPTS), 3, 48, 48), dtype=np.uint8)
    save_file({"pictures": pictures}, work / "pictures.safetensors")
    save_file({"training": pictures[:3], "held_out": pictures[3:5]}, work / MORE_FILE)
    about = {style: {"version": "1", "licence": "MIT"} for style in styles}
    rows = [[concept, style] for concept in CONCEPTS for style in styles]
    card = {"concepts": CONCEPTS, "styles": styles, "packages": about, "rows": rows}
    (work / "captions.json").write_text(json.dumps(card))


def averages_of(work: Path, stage: str) -> dict[str, torch.Tensor]:
    return torch.load(work / f"{stage}.state.pt", weights_only=True)["parts"]["average"]["module"]


def killed_after_one(training, step):
    """The loop, killed before its second step, with what it had saved."""

    def dying(i, generator):
        if i == 1:
            training.save()
            raise KeyboardInterrupt
        return step(i, generator)

    loop.run(training, dying)


def test_distill_resumes_bit_for_bit_and_saves_a_pipeline(tmp_path: Path, workers: Workers):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    for work in (whole, broken):
        write_toy_data(work)
    told: list[str] = []
    distill_emoji(whole, recipe=MINI, out=tmp_path / "emoji", workers=workers, tell=told.append)

    # the same in pieces: each stage is killed once, and gone on with
    for room in ("emoji.autoencoder", "emoji.teacher", "regression", "matching"):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(f"edgestep.distill.{room}.run", killed_after_one)
            with pytest.raises(KeyboardInterrupt):
                distill_emoji(broken, recipe=MINI, workers=workers)
    distill_emoji(broken, recipe=MINI, workers=workers)
    for stage in ("autoencoder", "teacher", "regression", "matching"):
        first, second = averages_of(whole, stage), averages_of(broken, stage)
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
    assert all(f"| {name}, 1 step |" in card for name in ("teacher", "regression only", "student"))
    assert card.count("| teacher, 2 steps |") == 1
    assert sorted((tmp_path / "emoji" / "prompts.txt").read_text().split("\n")[:-1])[0].split()[0] in {
        "classic",
        "noto",
    }
    curve = [json.loads(line) for line in (whole / "curves" / "curve.jsonl").read_text().splitlines()]
    assert [(row["stage"], row["step"]) for row in curve] == [
        ("regression", 1), ("regression", 2), ("matching", 1), ("matching", 2),
    ]  # fmt: skip
    again = [json.loads(line) for line in (broken / "curves" / "curve.jsonl").read_text().splitlines()]
    assert again == curve  # a row that was written before a kill is not there twice
    assert any("held-out pictures come back" in line for line in told)


def test_state_of_another_config_is_refused(tmp_path: Path, workers: Workers):
    write_toy_data(tmp_path / "work")
    distill_emoji(tmp_path / "work", recipe=MINI, until="autoencoder", workers=workers)
    other = dataclasses.replace(MINI, autoencoder_channels=(8, 16, 16, 16), autoencoder_steps=5)
    with pytest.raises(BadInput, match="begun with another recipe: autoencoder_channels, autoencoder_steps; expected"):
        distill_emoji(tmp_path / "work", recipe=other, until="autoencoder", workers=workers)
    (tmp_path / "work" / "recipe.json").unlink()
    with pytest.raises(BadInput, match="another config"):
        distill_emoji(tmp_path / "work", recipe=other, until="autoencoder", workers=workers)


def test_a_row_of_the_curve_takes_the_place_of_one_from_before_a_kill(tmp_path: Path):
    for top1 in (0.1, 0.2):
        for step in (1, 2):
            add_to_curve(tmp_path / "curve.jsonl", {"stage": "matching", "step": step, "top1": top1 * step})
    rows = [json.loads(line) for line in (tmp_path / "curve.jsonl").read_text().splitlines()]
    assert [(row["step"], row["top1"]) for row in rows] == [(1, 0.2), (2, 0.4)]


def test_unknown_stage_is_refused(tmp_path: Path):
    with pytest.raises(BadInput, match="expected one of data"):
        distill_emoji(tmp_path, until="everything")
