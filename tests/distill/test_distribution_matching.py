"""The distribution-matching gradient against its closed form."""

import torch

from edgestep.distill.diffusion import Schedule
from edgestep.distill.distribution_matching import T_MAX, T_MIN, fake_loss, matching_loss
from edgestep.distill.networks import teacher_scheduler

SCHEDULE = Schedule(teacher_scheduler())


def knows(x0: torch.Tensor, seen: list | None = None):
    """A denoiser whose mu is `x0` everywhere; it keeps the t that it was asked for."""

    def denoiser(x_t, t, prompt_embeds):
        if seen is not None:
            seen.append(t)
        a, s = SCHEDULE.at(t)
        return (a * x_t - x0) / s

    return denoiser


def test_gradient_points_from_the_fake_mean_to_the_real_one():
    x = torch.randn(4, 2, 3, 3, generator=torch.Generator().manual_seed(0)).requires_grad_(True)
    real, fake = torch.full_like(x, 0.5).detach(), torch.full_like(x, -0.25).detach()
    seen: list = []
    loss = matching_loss(
        x, torch.zeros(4, 1, 1), knows(real, seen), knows(fake), SCHEDULE, torch.Generator().manual_seed(1)
    )
    loss.backward()
    weight = (x.detach() - real).abs().mean((1, 2, 3), keepdim=True) + 1e-6
    torch.testing.assert_close(x.grad, (fake - real) / weight / x.numel(), atol=1e-4, rtol=1e-3)
    assert all(T_MIN * 1000 <= t <= T_MAX * 1000 for t in seen[0])


def test_no_gradient_where_both_agree():
    x = torch.randn(2, 1, 2, 2).requires_grad_(True)
    mean = torch.zeros_like(x).detach()
    matching_loss(
        x, torch.zeros(2, 1, 1), knows(mean), knows(mean), SCHEDULE, torch.Generator().manual_seed(2)
    ).backward()
    torch.testing.assert_close(x.grad, torch.zeros_like(x), atol=1e-5, rtol=0)


def test_fake_loss_is_nothing_for_who_knows_x():
    x = torch.randn(8, 1, 2, 2, generator=torch.Generator().manual_seed(3))
    embeds = torch.zeros(8, 1, 1)
    assert fake_loss(x, embeds, knows(x), SCHEDULE, torch.Generator().manual_seed(4)) < 1e-6
    assert fake_loss(x, embeds, knows(x + 1), SCHEDULE, torch.Generator().manual_seed(4)) > 0.1
