"""The distribution-matching gradient against its closed form, and against eq. 7 and 8 written out with autograd."""

import pytest
import torch

from edgestep.distill.diffusion import PREDICTIONS, Schedule
from edgestep.distill.losses.distribution_matching import T_MAX, T_MIN, draw_matching_t, matching_loss
from tests.distill.schedules import ddim

SCHEDULE = Schedule(ddim("v_prediction"))


def knows(x0: torch.Tensor, seen: list | None = None):
    """A denoiser whose mu is `x0` everywhere; it keeps the t that it was asked for."""

    def denoiser(x_t, t, prompt_embeds):
        if seen is not None:
            seen.append(t)
        a, s = SCHEDULE.at(t)
        return (a * x_t - x0) / s

    return denoiser


def noising(x: torch.Tensor, seed: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    t = draw_matching_t(len(x), SCHEDULE, generator)
    return {"t": t, "noise": torch.randn(x.shape, generator=generator)}


def test_gradient_points_from_the_fake_mean_to_the_real_one():
    x = torch.randn(4, 2, 3, 3, generator=torch.Generator().manual_seed(0)).requires_grad_(True)
    real, fake = torch.full_like(x, 0.5).detach(), torch.full_like(x, -0.25).detach()
    seen: list = []
    drawn = noising(x, 1)
    matching_loss(x, torch.zeros(4, 1, 1), knows(real, seen), knows(fake), SCHEDULE, **drawn).backward()
    weight = (x.detach() - real).abs().mean((1, 2, 3), keepdim=True) + 1e-6
    torch.testing.assert_close(x.grad, (fake - real) / weight / x.numel(), atol=1e-4, rtol=1e-3)
    assert torch.equal(seen[0], drawn["t"])


def test_no_gradient_where_both_agree():
    x = torch.randn(2, 1, 2, 2).requires_grad_(True)
    mean = torch.zeros_like(x).detach()
    matching_loss(x, torch.zeros(2, 1, 1), knows(mean), knows(mean), SCHEDULE, **noising(x, 2)).backward()
    torch.testing.assert_close(x.grad, torch.zeros_like(x), atol=1e-5, rtol=0)


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_gradient_is_that_of_the_scores_times_dx_dtheta(prediction: str):
    """E[w_t a_t (s_fake - s_real) dG/dtheta] with w_t = s_t^2 / a_t C S / |mu_real - x|_1, scores from the networks."""
    generator = torch.Generator().manual_seed(3)
    schedule, scheduler = Schedule(ddim(prediction)), ddim(prediction)
    theta = torch.randn(3, generator=generator, dtype=torch.float64).requires_grad_(True)
    z, noise = torch.randn(2, 3, 2, 4, 4, generator=generator, dtype=torch.float64).unbind(0)
    embeds, t = torch.randn(3, 1, 1, generator=generator), torch.tensor([25, 400, 970])

    def draw() -> torch.Tensor:
        return theta[0] * torch.tanh(z) + theta[1] * z**2 + theta[2]

    def network(scale: float):
        return lambda x_t, t, c: torch.sin(scale * x_t) + c.view(-1, 1, 1, 1) + t.view(-1, 1, 1, 1) / 1000

    loss = matching_loss(draw(), embeds, network(0.7), network(-0.4), schedule, t=t, noise=noise)
    (ours,) = torch.autograd.grad(loss, theta)

    x = draw()
    abar = scheduler.alphas_cumprod[t].double().view(-1, 1, 1, 1)
    x_t = abar.sqrt() * x.detach() + (1 - abar).sqrt() * noise

    def eps_of(f):
        out = f(x_t, t, embeds)
        return out if prediction == "epsilon" else abar.sqrt() * out + (1 - abar).sqrt() * x_t

    real, fake = -eps_of(network(0.7)) / (1 - abar).sqrt(), -eps_of(network(-0.4)) / (1 - abar).sqrt()
    mu_real = (x_t + (1 - abar) * real) / abar.sqrt()
    norm_1 = (x.detach() - mu_real).abs().flatten(1).sum(1).view(-1, 1, 1, 1)
    w = (1 - abar) / abar.sqrt() * x[0].numel() / norm_1  # alpha_t of eq. 7 is in its 1 / sqrt(abar)
    (theirs,) = torch.autograd.grad((w * (fake - real) * x).mean(), theta)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-7)


def test_matching_t_are_between_two_and_ninety_eight_percent():
    t = draw_matching_t(50_000, SCHEDULE, torch.Generator().manual_seed(5))
    assert t.dtype == torch.int64
    assert (int(t.min()), int(t.max())) == (int(T_MIN * 1000), int(T_MAX * 1000) - 1)
    share = torch.histc(t.float(), 8, 20, 980) / len(t)
    assert (share - 1 / 8).abs().max() < 0.01
