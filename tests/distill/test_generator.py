"""The one-step formula against LCMScheduler's step; the student of several steps against a loop by hand."""

import pytest
import torch
from diffusers import LCMScheduler

from edgestep.distill.diffusion import PREDICTIONS, Schedule
from edgestep.distill.emoji.networks import one_step_scheduler
from edgestep.distill.generator import generator_of, steps_generator
from tests.distill.schedules import ddim


def network(x_t, t, prompt_embeds):
    return torch.tanh(x_t) + t.view(-1, 1, 1, 1) / 1000 + prompt_embeds.mean((1, 2)).view(-1, 1, 1, 1)


@pytest.fixture
def drawn() -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(1)
    noise, first, second = torch.randn(3, 2, 2, 3, 3, generator=generator).unbind(0)
    return noise, torch.randn(2, 4, 5, generator=generator), first, second


@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("conditioning_t", [999, 399])
def test_one_step_is_what_lcm_scheduler_does_in_one_step(drawn, prediction: str, conditioning_t: int):
    noise, embeds, *_ = drawn
    scheduler = LCMScheduler.from_config(ddim(prediction).config)
    scheduler.set_timesteps(timesteps=[conditioning_t])
    predicted = network(noise, torch.full((2,), conditioning_t), embeds)
    theirs = scheduler.step(predicted, scheduler.timesteps[0], noise).prev_sample
    ours = generator_of(network, Schedule(ddim(prediction)), conditioning_t)(noise, embeds)
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


def test_the_emoji_scheduler_begins_at_999():
    scheduler = one_step_scheduler()
    scheduler.set_timesteps(1)
    assert scheduler.timesteps.tolist() == [999]


@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("steps", [1, 2, 3])
def test_several_steps_are_a_loop_by_hand(drawn, steps: int, prediction: str):
    noise, embeds, *later = drawn
    times, abar = (999, 600, 250), ddim(prediction).alphas_cumprod
    ours = steps_generator(network, Schedule(ddim(prediction)), times)(noise, embeds, steps, later)

    x_t = noise
    for k in range(steps):
        a, s = abar[times[k]].sqrt(), (1 - abar[times[k]]).sqrt()
        out = network(x_t, torch.tensor([times[k]] * 2), embeds)
        x0 = (x_t - s * out) / a if prediction == "epsilon" else a * x_t - s * out
        if k < steps - 1:
            x_t = abar[times[k + 1]].sqrt() * x0 + (1 - abar[times[k + 1]]).sqrt() * later[k]
    torch.testing.assert_close(ours, x0)


def test_only_the_last_step_carries_a_gradient(drawn):
    noise, embeds, *later = drawn
    theta = torch.tensor(0.5, requires_grad=True)
    asked: list[bool] = []

    def scaled(x_t, t, prompt_embeds):
        asked.append(torch.is_grad_enabled())
        return theta * network(x_t, t, prompt_embeds)

    x0 = steps_generator(scaled, Schedule(ddim("v_prediction")), (999, 500, 200))(noise, embeds, 3, later)
    assert x0.requires_grad
    assert asked == [False, False, True]
