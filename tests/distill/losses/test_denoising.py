"""The denoising loss: nothing for who knows the answer, the mean square of what is missing for others."""

import pytest
import torch

from edgestep.distill.diffusion import PREDICTIONS, Schedule
from edgestep.distill.losses.denoising import denoising_loss
from tests.distill.schedules import ddim


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_it_is_the_mean_square_of_what_is_missing(prediction: str):
    schedule, scheduler = Schedule(ddim(prediction)), ddim(prediction)
    generator = torch.Generator().manual_seed(3)
    x, noise = (torch.randn(8, 1, 2, 2, generator=generator) for _ in range(2))
    t, embeds = torch.randint(1000, (8,), generator=generator), torch.zeros(8, 1, 1)
    right = noise if prediction == "epsilon" else scheduler.get_velocity(x, noise, t)

    def off_by(much: float):
        def denoiser(x_t, asked, prompt_embeds):
            torch.testing.assert_close(x_t, scheduler.add_noise(x, noise, t))
            assert torch.equal(asked, t)
            assert prompt_embeds is embeds
            return right + much

        return denoiser

    for much in (0.0, 0.5):
        loss = denoising_loss(x, embeds, off_by(much), schedule, t=t, noise=noise)
        assert float(loss) == pytest.approx(much**2, abs=1e-6)
