"""Every way to draw against diffusers' own pipeline; prompts, noise, timing."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, StableDiffusionPipeline

from edgestep.artifact import BadInput
from edgestep.distill.evaluation import timing
from edgestep.distill.evaluation.drawing import draw_latents, judge_latents
from edgestep.distill.evaluation.folders import checkpoint_way, teacher_ways
from edgestep.distill.evaluation.prompts import noise_of, permuted, prompts_of
from edgestep.distill.evaluation.timing import time_ways
from edgestep.distill.evaluation.ways import check_ways, later_noise, one_step_way, steps_way, teacher_way
from edgestep.distill.folders import read_parts
from tests.distill.evaluation.toys import CONCEPTS, new_judge, new_parts, save_folder

PROMPTS = ["noto red heart", "blue square"]
CPU = torch.device("cpu")


def pipeline_of(folder: Path) -> StableDiffusionPipeline:
    pipeline = StableDiffusionPipeline.from_pretrained(folder, safety_checker=None, torch_dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def drawn_by(pipeline, noise: torch.Tensor, steps: int, guidance: float) -> torch.Tensor:
    drawn = pipeline(
        PROMPTS, latents=noise, num_inference_steps=steps, guidance_scale=guidance, output_type="pt", eta=0.0
    ).images
    return drawn * 2 - 1


@pytest.mark.parametrize("prediction", ["v_prediction", "epsilon"])
def test_the_teacher_draws_what_diffusers_pipeline_draws(tmp_path: Path, prediction: str):
    folder = save_folder(tmp_path / "teacher", *new_parts(1, prediction), one_step=False)
    noise = noise_of(2, (16, 4, 4), 3)
    pipeline = pipeline_of(folder)
    pipeline.scheduler = DDIMScheduler.from_config(pipeline.scheduler.config, timestep_spacing="trailing")
    parts = read_parts(folder, CPU)
    many, one = teacher_ways(parts, 2.5, (4, 1))
    assert (many.name, many.nfe, one.name, one.nfe) == ("teacher, 4 steps", 8, "teacher, 1 step", 1)
    torch.testing.assert_close(many.draw(PROMPTS, noise), drawn_by(pipeline, noise, 4, 2.5), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(one.draw(PROMPTS, noise), drawn_by(pipeline, noise, 1, 1.0), rtol=1e-4, atol=1e-4)


def test_the_student_draws_what_diffusers_draws_in_one_step(tmp_path: Path):
    folder = save_folder(tmp_path / "student", *new_parts(2), one_step=True)
    noise = noise_of(2, (16, 4, 4), 5)
    way = checkpoint_way("student", read_parts(folder, CPU))
    assert way.nfe == 1
    wanted = drawn_by(pipeline_of(folder), noise, 1, 1.0)
    torch.testing.assert_close(way.draw(PROMPTS, noise), wanted, rtol=1e-4, atol=1e-4)


def test_another_conditioning_t_draws_x0_of_that_t():
    teacher, vae = new_parts(1)
    noise = noise_of(2, (16, 4, 4), 5)
    way = one_step_way("student", teacher, teacher.unet, vae, 399)
    embeds = teacher.embeds(teacher.ids(PROMPTS))
    abar = teacher.scheduler.alphas_cumprod[399]
    velocity = teacher.unet(noise, torch.full((2,), 399), embeds).sample
    wanted = abar.sqrt() * noise - (1 - abar).sqrt() * velocity
    torch.testing.assert_close(way.latents(noise, way.embeds(PROMPTS)), wanted)


def test_several_steps_noise_the_x0_of_the_step_before_again():
    teacher, vae = new_parts(1)
    noise = noise_of(3, (16, 4, 4), 5)
    way = steps_way("student, 2 steps", teacher, teacher.unet, vae, (999, 499))
    embeds = teacher.embeds(teacher.ids([*PROMPTS, "a"]))
    one = one_step_way("student", teacher, teacher.unet, vae).latents(noise, embeds)
    abar = teacher.scheduler.alphas_cumprod[499]
    x_t = abar.sqrt() * one + (1 - abar).sqrt() * later_noise(noise, 1)
    wanted = one_step_way("student", teacher, teacher.unet, vae, 499).latents(x_t, embeds)
    torch.testing.assert_close(way.latents(noise, embeds), wanted)
    torch.testing.assert_close(way.latents(noise[2:], embeds[2:]), wanted[2:], rtol=1e-4, atol=1e-4)
    assert way.nfe == 2
    many = later_noise(noise_of(500, (16, 4, 4), 5), 1)
    assert abs(many.mean().item()) < 0.02
    assert many.std().item() == pytest.approx(1, abs=0.02)
    assert len({picture.sum().item() for picture in many}) == 500
    with pytest.raises(BadInput, match="expected falling ones below 1000"):
        steps_way("student", teacher, teacher.unet, vae, (1000,))


def test_a_teacher_of_another_prediction_type_is_refused(tmp_path: Path):
    folder = save_folder(tmp_path / "teacher", *new_parts(1, "sample"), one_step=False)
    with pytest.raises(BadInput, match="'sample'; expected epsilon or v_prediction"):
        read_parts(folder, CPU)


@pytest.mark.parametrize("fault", ["no folder", "no unet", "no weights"])
def test_a_folder_that_is_no_checkpoint_is_refused_in_one_line(tmp_path: Path, fault: str):
    folder = tmp_path / "teacher"
    if fault != "no folder":
        save_folder(folder, *new_parts(1), one_step=False)
        weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
        weights.unlink()
    if fault == "no unet":
        (folder / "unet" / "config.json").unlink()
    with pytest.raises(BadInput, match=r"got .*teacher") as caught:
        read_parts(folder, CPU)
    assert "\n" not in str(caught.value)


def test_ways_that_cannot_be_compared_are_refused():
    teacher, vae = new_parts(1)
    way = teacher_way(teacher, vae, 2.0, 2)
    with pytest.raises(BadInput, match="two ways to draw called 'teacher, 2 steps'"):
        check_ways([way, way])
    other = dataclasses.replace(way, name="other", latent_shape=(4, 8, 8))
    with pytest.raises(BadInput, match="expected one shape"):
        check_ways([way, other])
    check_ways([way, dataclasses.replace(way, name="other")])


def test_features_do_not_depend_on_the_batch_and_nan_is_refused():
    teacher, vae = new_parts(1)
    way, judge = teacher_way(teacher, vae, 2.0, 1), new_judge()
    prompts = prompts_of([(text, text) for text in CONCEPTS[:5]], CONCEPTS)
    noise = noise_of(5, way.latent_shape, 0)
    x0 = [draw_latents(way, prompts, noise, batch, "toys") for batch in (2, 5)]
    torch.testing.assert_close(x0[0], x0[1], rtol=1e-4, atol=1e-4)
    first, second = (judge_latents(way, x0[0], prompts.concepts, judge, batch) for batch in (2, 5))
    np.testing.assert_allclose(first.features, second.features, rtol=1e-3, atol=1e-4)
    wanted = judge.judge(way.draw(list(prompts.texts), noise))[0]
    np.testing.assert_allclose(first.features, wanted.numpy(), rtol=1e-3, atol=1e-4)
    assert first.ranks.shape == (5,)
    x0[0][3, 0, 0, 0] = torch.nan
    with pytest.raises(BadInput, match=r"got 1 of 5 pictures of 'teacher, 1 step' that are not finite"):
        judge_latents(way, x0[0], prompts.concepts, judge, 2)


def test_prompts_come_once_before_any_comes_twice():
    prompts = prompts_of([(f"a {text}", text) for text in CONCEPTS], CONCEPTS)
    picked = prompts.pick(15, seed=4)
    assert sorted(picked.texts[:6]) == sorted(prompts.texts) == sorted(picked.texts[6:12])
    assert len(set(picked.texts[12:])) == 3
    assert [CONCEPTS[i] for i in picked.concepts] == [text.removeprefix("a ") for text in picked.texts]
    assert prompts.pick(15, seed=5) != picked == prompts.pick(15, seed=4)
    twice = prompts.pick(2, seed=0).repeated(2)
    assert twice.texts[0] == twice.texts[1] != twice.texts[2] == twice.texts[3]
    assert twice.concepts[0] == twice.concepts[1]
    assert sorted(permuted(7, 7, 1)) == list(range(7))
    with pytest.raises(BadInput, match="'unicorn'"):
        prompts_of([("a unicorn", "unicorn")], CONCEPTS)
    with pytest.raises(BadInput, match="no prompts"):
        prompts_of([], CONCEPTS)


def test_ways_are_timed_in_turns_and_by_part(monkeypatch: pytest.MonkeyPatch):
    now = [0]
    order = []
    monkeypatch.setattr(timing.time, "perf_counter_ns", lambda: now[0])
    teacher, vae = new_parts(1)
    plain = teacher_way(teacher, vae, 2.0, 1)

    def costing(name: str, text: int, network: int, decoder: int):
        def part(cost: int):
            def call(*_):
                order.append(name)
                now[0] += int(cost * 1e9) * (1 if len(order) > 6 else 100)  # a slow first turn
                return torch.zeros(1)

            return call

        return dataclasses.replace(plain, name=name, embeds=part(text), latents=part(network), decode=part(decoder))

    seconds = time_ways([costing("a", 1, 2, 3), costing("b", 4, 5, 6)], "toy", torch.zeros(1, 16, 4, 4), turns=3)
    assert dataclasses.astuple(seconds["a"]) == (1, 2, 3, 6)
    assert dataclasses.astuple(seconds["b"]) == (4, 5, 6, 15)
    assert order[::3] == ["a", "b"] * 4
    many = time_ways([costing("c", 1, 2, 3)], "toy", torch.zeros(4, 16, 4, 4), turns=3)
    assert dataclasses.astuple(many["c"]) == (0.25, 0.5, 0.75, 1.5)
