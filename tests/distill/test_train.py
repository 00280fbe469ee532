"""`train()`: the folder that it writes, the folders that it refuses, what it leaves to go on from."""

import json
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from diffusers import LCMScheduler, StableDiffusionPipeline

from edgestep.artifact import BadInput
from edgestep.cli import main
from edgestep.distill import matching as matching_room
from edgestep.distill import pairs
from edgestep.distill.data.tokenizing import sha256_of_tokenizer
from edgestep.distill.evaluation.ways import one_step_way, steps_way
from edgestep.distill.folders import Parts, read_parts
from edgestep.distill.train import estimate_training, train
from edgestep.distill.workers import Workers
from tests.distill.toys import CPU, DMD, GAN, clone, write_rows
from tests.tiny import save_tiny_checkpoint

QUICK = replace(DMD, regression_steps=1, matching_steps=2, fake_updates=1)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(pairs, "BLOCK", 8)


@pytest.fixture(scope="module")
def v_teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("teacher") / "v"
    save_tiny_checkpoint(folder, prediction_type="v_prediction", seed=4)
    return folder


def pictures_of_diffusers(folder: Path, prompts: list[str], noise: torch.Tensor, **steps) -> torch.Tensor:
    pipeline = StableDiffusionPipeline.from_pretrained(folder, safety_checker=None, torch_dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    assert isinstance(pipeline.scheduler, LCMScheduler)
    drawn = pipeline(prompts, latents=noise, guidance_scale=1.0, output_type="pt", **steps).images
    assert isinstance(drawn, torch.Tensor)
    return drawn * 2 - 1


@pytest.mark.parametrize("t", [999, 399])
@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_diffusers_draws_the_written_folder_as_we_do(
    tmp_path: Path, tiny: Path, v_teacher: Path, rows: Path, workers: Workers, prediction: str, t: int
):
    teacher, told = {"epsilon": tiny, "v_prediction": v_teacher}[prediction], []
    config = replace(QUICK, conditioning_t=t)
    student = train(teacher, rows, tmp_path / "work", tmp_path / "out", config, workers, tell=told.append).unet
    assert told == [f"written: {tmp_path / 'out'}"]
    back = read_parts(tmp_path / "out", CPU)
    for name, value in clone(student).items():
        torch.testing.assert_close(back.teacher.unet.state_dict()[name], value.half().float(), rtol=0, atol=0)
    noise, prompts = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(3)), ["a red heart", "cat face"]
    ours = one_step_way("ours", back.teacher, back.teacher.unet, back.vae, t).draw(prompts, noise)
    steps = {"num_inference_steps": 1} if t == 999 else {"timesteps": [t]}
    torch.testing.assert_close(
        pictures_of_diffusers(tmp_path / "out", prompts, noise, **steps), ours, atol=1e-4, rtol=0
    )
    card = (tmp_path / "out" / "README.md").read_text()
    assert f"one step at t = {t}" in card
    assert json.loads(card.split("```json")[1].split("```")[0])["conditioning_t"] == t
    assert len(list((tmp_path / "work" / "grids").glob("matching-*.png"))) == 1
    assert (tmp_path / "work" / "matching.log.jsonl").is_file()


def test_the_student_is_another_than_its_teacher_which_is_not_changed(
    tmp_path: Path, tiny: Path, rows: Path, workers: Workers
):
    before = {path.name: path.read_bytes() for path in (tiny / "unet").iterdir()}
    student = train(tiny, rows, tmp_path / "work", tmp_path / "out", GAN, workers).unet
    teacher = read_parts(tiny, CPU).teacher.unet.state_dict()
    assert any(not torch.equal(value, teacher[name]) for name, value in student.state_dict().items())
    assert {path.name: path.read_bytes() for path in (tiny / "unet").iterdir()} == before
    assert (tmp_path / "out" / "tokenizer" / "tokenizer.json").is_file()  # what runtimes without transformers read
    assert "_name_or_path" not in (tmp_path / "out" / "unet" / "config.json").read_text()
    later = steps_way("two", read_parts(tmp_path / "out", CPU).teacher, student, read_parts(tiny, CPU).vae, (999, 500))
    assert later.draw(["cat face"], torch.randn(1, 4, 8, 8)).isfinite().all()


def test_a_work_folder_of_another_config_is_refused(tmp_path: Path, tiny: Path, rows: Path, workers: Workers):
    train(tiny, rows, tmp_path / "work", tmp_path / "out", QUICK, workers)
    kept = {path: path.read_bytes() for path in (tmp_path / "work").rglob("*") if path.is_file()}
    with pytest.raises(BadInput, match=r"begun with another config \(lr\)"):
        train(tiny, rows, tmp_path / "work", tmp_path / "other", replace(QUICK, lr=1e-5), workers)
    assert {path: path.read_bytes() for path in (tmp_path / "work").rglob("*") if path.is_file()} == kept
    with pytest.raises(BadInput, match="not empty"):
        train(tiny, rows, tmp_path / "work", tmp_path / "out", QUICK, workers)


def test_a_work_folder_begun_before_a_field_came_goes_on(tmp_path: Path, tiny: Path, rows: Path, workers: Workers):
    train(tiny, rows, tmp_path / "work", tmp_path / "out", QUICK, workers)
    config = tmp_path / "work" / "config.json"
    before = {name: value for name, value in json.loads(config.read_text()).items() if name != "real_guidance"}
    config.write_text(json.dumps(before))
    train(tiny, rows, tmp_path / "work", tmp_path / "other", QUICK, workers)
    with pytest.raises(BadInput, match=r"\(real_guidance\)"):
        train(tiny, rows, tmp_path / "work", tmp_path / "third", replace(QUICK, real_guidance=1.5), workers)
    config.write_text("[")
    with pytest.raises(BadInput, match="cannot be read"):
        train(tiny, rows, tmp_path / "work", tmp_path / "third", QUICK, workers)


def test_data_of_another_teacher_is_refused(
    tmp_path: Path, tiny: Path, v_teacher: Path, parts: Parts, workers: Workers
):
    def refused(data: Path, teacher: Path, words: str) -> None:
        with pytest.raises(BadInput, match=words):
            train(teacher, data, tmp_path / "work", tmp_path / "out", QUICK, workers)
        assert not (tmp_path / "work").exists()

    scale = parts.vae.config.scaling_factor
    own = {"tokenizer_sha256": sha256_of_tokenizer(parts.teacher.tokenizer), "latent_scale": scale}
    refused(write_rows(tmp_path / "a", parts, **own | {"tokenizer_sha256": "0" * 64}), tiny, "the tokenizer 0000")
    refused(write_rows(tmp_path / "b", parts, **own | {"latent_scale": 1.5}), tiny, "the latent scale 1.5")
    refused(tmp_path / "none", tiny, "none of them")
    data = write_rows(tmp_path / "c", parts, **own)
    larger = tmp_path / "larger"
    larger.symlink_to(v_teacher, target_is_directory=True)
    train(larger, data, tmp_path / "fits", tmp_path / "out", QUICK, workers)  # same tokenizer, scale and shape: taken


def test_data_of_another_shape_is_refused(tmp_path: Path, tiny: Path, rows: Path, workers: Workers):
    about = json.loads((tiny / "unet" / "config.json").read_text())
    other = tmp_path / "teacher"
    for path in tiny.rglob("*"):
        target = other / path.relative_to(tiny)
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.is_file():
            target.write_bytes(path.read_bytes())
    (other / "unet" / "config.json").write_text(json.dumps(about | {"sample_size": [8, 16]}))
    with pytest.raises(BadInput, match=r"latents of shape \(4, 8, 8\); expected \(4, 8, 16\)"):
        train(other, rows, tmp_path / "work", tmp_path / "out", QUICK, workers)


def test_a_prediction_that_is_not_supported_is_refused(tmp_path: Path, rows: Path, workers: Workers):
    save_tiny_checkpoint(tmp_path / "teacher", prediction_type="sample")
    with pytest.raises(BadInput, match="prediction_type 'sample'; expected epsilon or v_prediction"):
        train(tmp_path / "teacher", rows, tmp_path / "work", tmp_path / "out", QUICK, workers)


def test_nan_losses_stop_and_the_state_is_gone_on_with(
    tmp_path: Path, tiny: Path, rows: Path, workers: Workers, monkeypatch: pytest.MonkeyPatch
):
    config = replace(GAN, matching_steps=5)
    monkeypatch.setattr("edgestep.distill.loop.SAVE_SECONDS", 0)
    calls = []

    def broken(drawn: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        return drawn.mean() * (float("nan") if len(calls) == 4 else 1.0)

    with monkeypatch.context() as patch:
        patch.setattr(matching_room, "generator_loss", broken)
        with pytest.raises(BadInput, match="in matching, step 3: adversarial"):
            train(tiny, rows, tmp_path / "work", tmp_path / "out", config, workers)
    assert torch.load(tmp_path / "work" / "matching.state.pt", weights_only=True)["done"] == 3
    assert not (tmp_path / "out").exists()
    train(tiny, rows, tmp_path / "work", tmp_path / "out", config, workers)
    assert (tmp_path / "out" / "model_index.json").is_file()


def test_an_estimate_trains_nothing_and_writes_nothing(tmp_path: Path, tiny: Path, rows: Path, workers: Workers):
    before = sorted(tmp_path.rglob("*"))
    for config in (QUICK, replace(GAN, matching_steps=40)):
        found = estimate_training(tiny, rows, config, workers)
        assert found.steps == config.matching_steps
        assert found.seconds_per_step > 0
        assert found.memory_bytes > 50 * 2**20
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"stepps": 3}, "got stepps in"),
        ({"method": "dmd4"}, "method 'dmd4'"),
        ({"regression_kind": "mse"}, "regression_kind 'mse'"),
        (asdict(QUICK) | {"batch": 0}, "got batch 0"),
    ],
)
def test_the_command_ends_with_two_and_one_line(
    tmp_path: Path, tiny: Path, rows: Path, config: dict, words: str,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
):  # fmt: skip
    (tmp_path / "c.json").write_text(json.dumps(config))
    names = {"--data": rows, "--work": tmp_path / "work", "--out": tmp_path / "out", "--config": tmp_path / "c.json"}
    options = [str(word) for pair in names.items() for word in pair]
    monkeypatch.setattr(sys, "argv", ["edgestep", "distill", "train", str(tiny), *options, "--cpu"])
    with pytest.raises(SystemExit) as end:
        main()
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("edgestep: ")]
    assert end.value.code == 2
    assert len(lines) == 1
    assert words in lines[0]
    assert not (tmp_path / "work").exists()
