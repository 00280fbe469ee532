"""Formulas against diffusers' scheduler, and sampling with a denoiser that knows the answer."""

import pytest
import torch

from edgestep.distill.diffusion import Schedule, guided, sample_ddim
from edgestep.distill.networks import one_step_scheduler, teacher_scheduler
from edgestep.distill.student import generator_of


@pytest.fixture
def tensors() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    x0, noise = (torch.randn(4, 2, 3, 3, generator=generator) for _ in range(2))
    return x0, noise, torch.tensor([0, 250, 700, 999])


def test_noise_and_velocity_are_the_schedulers(tensors):
    x0, noise, t = tensors
    scheduler = teacher_scheduler()
    schedule = Schedule(scheduler)
    torch.testing.assert_close(schedule.noised(x0, noise, t), scheduler.add_noise(x0, noise, t))
    torch.testing.assert_close(schedule.velocity(x0, noise, t), scheduler.get_velocity(x0, noise, t))


def test_x0_comes_back_from_the_velocity(tensors):
    x0, noise, t = tensors
    schedule = Schedule(teacher_scheduler())
    back = schedule.x0_from_velocity(schedule.noised(x0, noise, t), schedule.velocity(x0, noise, t), t)
    torch.testing.assert_close(back, x0, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("steps", [1, 20, 50])
def test_ddim_with_an_oracle_ends_at_x0(tensors, steps: int):
    """A denoiser that always says v of one x0 leads every noise there, in any number of steps that divides T."""
    x0, noise, _ = tensors
    schedule = Schedule(teacher_scheduler())

    def oracle(x_t, t, prompt_embeds):
        a, s = schedule.at(t)
        return schedule.velocity(x0, (x_t - a * x0) / s, t)

    end = sample_ddim(oracle, teacher_scheduler(), noise, torch.zeros(4, 1, 1), steps)
    torch.testing.assert_close(end, x0, atol=1e-4, rtol=1e-4)


def test_guidance_is_the_weighted_difference():
    def denoiser(x_t, t, prompt_embeds):
        return x_t + prompt_embeds.sum((1, 2)).view(-1, 1, 1, 1)

    x, t = torch.ones(2, 1, 1, 1), torch.tensor([5, 5])
    embeds, null = torch.full((2, 1, 1), 3.0), torch.full((1, 1, 1), 1.0)
    out = guided(denoiser, null, 2.5)(x, t, embeds)
    torch.testing.assert_close(out, torch.full_like(x, 1 + 1 + 2.5 * (3 - 1)))


def test_one_step_is_what_lcm_scheduler_does_in_one_step():
    class Network(torch.nn.Module):
        def forward(self, x_t, t, prompt_embeds):
            class Out:
                sample = torch.tanh(x_t) + t.view(-1, 1, 1, 1) / 1000

            return Out

    noise = torch.randn(2, 2, 3, 3, generator=torch.Generator().manual_seed(1))
    scheduler = one_step_scheduler()
    scheduler.set_timesteps(1)
    assert scheduler.timesteps.tolist() == [999]
    v = Network()(noise, torch.tensor([999, 999]), None).sample
    ours = generator_of(Network(), Schedule(teacher_scheduler()))(noise, torch.zeros(2, 1, 1))
    torch.testing.assert_close(ours, scheduler.step(v, scheduler.timesteps[0], noise).prev_sample, atol=1e-5, rtol=1e-5)
