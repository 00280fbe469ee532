"""Formulas against diffusers' schedulers, and sampling with a denoiser that knows the answer."""

import pytest
import torch

from edgestep.artifact import BadInput
from edgestep.distill.diffusion import PREDICTIONS, Schedule, batches, guided, sample_ddim
from tests.distill.schedules import ddim


@pytest.fixture
def tensors() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    x0, noise = (torch.randn(4, 2, 3, 3, generator=generator) for _ in range(2))
    return x0, noise, torch.tensor([0, 250, 700, 999])


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_noise_and_target_are_the_schedulers(tensors, prediction: str):
    x0, noise, t = tensors
    scheduler = ddim(prediction)
    schedule = Schedule(scheduler)
    assert (schedule.steps, schedule.prediction) == (1000, prediction)
    torch.testing.assert_close(schedule.noised(x0, noise, t), scheduler.add_noise(x0, noise, t))
    wanted = noise if prediction == "epsilon" else scheduler.get_velocity(x0, noise, t)
    torch.testing.assert_close(schedule.target(x0, noise, t), wanted)


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_x0_is_the_schedulers_whatever_is_predicted(tensors, prediction: str):
    x_t, predicted, times = tensors
    scheduler = ddim(prediction)
    scheduler.set_timesteps(1000)
    ours = Schedule(scheduler).x0(x_t, predicted, times)
    for i, t in enumerate(times):
        theirs = scheduler.step(predicted[i : i + 1], t, x_t[i : i + 1]).pred_original_sample
        torch.testing.assert_close(ours[i : i + 1], theirs, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_x0_comes_back_from_the_target(tensors, prediction: str):
    x0, noise, t = tensors
    schedule = Schedule(ddim(prediction))
    back = schedule.x0(schedule.noised(x0, noise, t), schedule.target(x0, noise, t).half(), t)
    assert back.dtype == torch.float32
    torch.testing.assert_close(back, x0, atol=0.02, rtol=0.02)


@pytest.mark.parametrize("prediction", ["sample", "flow_prediction"])
def test_a_prediction_without_a_formula_is_refused(prediction: str):
    with pytest.raises(BadInput, match=f"{prediction}.*expected epsilon or v_prediction"):
        Schedule(ddim(prediction))


@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("steps", [1, 20, 50])
def test_ddim_with_an_oracle_ends_at_x0(tensors, steps: int, prediction: str):
    """A denoiser that always says the target of one x0 leads every noise there, in any number of steps."""
    x0, noise, _ = tensors
    schedule = Schedule(ddim(prediction))

    def oracle(x_t, t, prompt_embeds):
        a, s = schedule.at(t)
        return schedule.target(x0, (x_t - a * x0) / s, t)

    end = sample_ddim(oracle, ddim(prediction), noise, torch.zeros(4, 1, 1), steps)
    torch.testing.assert_close(end, x0, atol=1e-4, rtol=1e-4)


def test_guidance_is_the_weighted_difference():
    def denoiser(x_t, t, prompt_embeds):
        return x_t + prompt_embeds.sum((1, 2)).view(-1, 1, 1, 1)

    x, t = torch.ones(2, 1, 1, 1), torch.tensor([5, 5])
    embeds, null = torch.full((2, 1, 1), 3.0), torch.full((1, 1, 1), 1.0)
    out = guided(denoiser, null, 2.5)(x, t, embeds)
    torch.testing.assert_close(out, torch.full_like(x, 1 + 1 + 2.5 * (3 - 1)))


@pytest.mark.parametrize(("count", "size"), [(0, 3), (7, 3), (6, 3), (2, 5)])
def test_batches_cover_everything_once(count: int, size: int):
    parts = [list(range(count))[part] for part in batches(count, size)]
    assert [i for part in parts for i in part] == list(range(count))
    assert all(0 < len(part) <= size for part in parts)
