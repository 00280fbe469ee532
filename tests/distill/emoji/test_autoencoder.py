"""The autoencoder's colour space, and the figure that is told of it."""

import math

import pytest
import torch

from edgestep.distill.emoji.augment import augment, draw_poses
from edgestep.distill.emoji.autoencoder import CHROMA, luma_chroma, picture_loss, psnr_of


def test_luma_and_chroma_are_bt601():
    grey = luma_chroma(torch.full((1, 3, 1, 1), 0.7)).flatten()
    torch.testing.assert_close(grey, torch.tensor([0.7, 0.0, 0.0]), atol=1e-6, rtol=0)
    blue = luma_chroma(torch.tensor([0.0, 0.0, 1.0]).view(1, 3, 1, 1)).flatten()
    torch.testing.assert_close(blue[:2], torch.tensor([0.114, CHROMA * 0.5]), atol=1e-3, rtol=0)


def test_the_loss_of_a_grey_error_is_known():
    picture = torch.zeros(2, 3, 4, 4)
    assert float(picture_loss(picture, picture)) == 0.0
    # luma alone, the same at both resolutions: a third of |e| + 2 e^2, twice
    assert float(picture_loss(picture + 0.3, picture)) == pytest.approx(2 * (0.3 + 2 * 0.09) / 3, rel=1e-5)


@pytest.mark.parametrize("error", [0.1, 0.5])
def test_psnr_is_of_the_range_minus_one_to_one(error: float):
    class OffBy(torch.nn.Module):
        """Everything comes back darker by `error`, from white."""

        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(()))

        def encode(self, pictures):
            return type("Out", (), {"latent_dist": type("Posterior", (), {"mean": pictures})})

        def decode(self, latents):
            return type("Out", (), {"sample": latents - error})

    white = torch.full((130, 3, 8, 8), 255, dtype=torch.uint8)
    psnr = psnr_of(OffBy(), white, 8)  # type: ignore[arg-type]
    assert psnr == pytest.approx(20 * math.log10(2 / error), abs=1e-3)


def test_no_pose_leaves_a_picture_as_it_is():
    picture = torch.randint(256, (2, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(augment(picture, torch.zeros(2, 4), 16), picture / 127.5 - 1, atol=1e-5, rtol=0)
    poses = draw_poses(1000, torch.Generator().manual_seed(0))
    assert poses.shape == (1000, 4)
    assert -1 <= poses.min() < -0.99
    assert 0.99 < poses.max() <= 1


def test_a_pose_turns_zooms_and_shifts():
    dot = torch.full((1, 3, 33, 33), 255, dtype=torch.uint8)
    dot[:, :, 16, 28] = 0  # right of the middle

    def place(*pose: float) -> tuple[float, float]:
        ink = 1 - augment(dot, torch.tensor([pose]), 33)[0, 0]
        y, x = torch.meshgrid(torch.arange(33.0), torch.arange(33.0), indexing="ij")
        return float((ink * x).sum() / ink.sum()) - 16, float((ink * y).sum() / ink.sum()) - 16

    assert place(0, 0, 0, 0) == pytest.approx((12, 0), abs=1e-3)
    x, y = place(1, 0, 0, 0)
    assert math.degrees(math.atan2(abs(y), x)) == pytest.approx(8, abs=0.5)
    assert place(0, 1, 0, 0)[0] == pytest.approx(12 / 1.07, abs=0.2)
    assert abs(place(0, 0, 1, 0)[0] - 12) == pytest.approx(0.03 * 33, abs=0.1)
    assert abs(place(0, 0, 0, 1)[1]) == pytest.approx(0.03 * 33, abs=0.1)
