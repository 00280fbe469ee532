"""The measures of decoders whose distance from the VAE's is known."""

import math
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from edgestep.distill.decoder.measure import judged_by, measure_decoder
from edgestep.distill.decoder.networks import new_tiny_decoder
from tests.distill.decoder.conftest import MINI


class Shifted(torch.nn.Module):
    """The VAE's decoder of x0, its pictures fainter by `error`."""

    def __init__(self, vae, error: float):
        super().__init__()
        self.decoder, self.post_quant_conv, self.vae, self.error = vae.decoder, vae.post_quant_conv, [vae], error

    def decode(self, x0: torch.Tensor) -> SimpleNamespace:
        latents = x0 / self.vae[0].config["scaling_factor"]
        return SimpleNamespace(sample=self.vae[0].decode(latents).sample.clamp(-1, 1) * (1 - self.error))


def test_the_vae_itself_is_perfect(source):
    measures = measure_decoder(Shifted(source.vae, 0.0), source, MINI, judged=lambda a, b: float((a - b).abs().max()))
    assert (measures.psnr_db, measures.psnr_mean_db, measures.frechet) == (200, 200, 0)
    assert measures.ssim == pytest.approx(1)
    assert measures.flops_ratio == 1
    assert measures.parameters == measures.vae_parameters
    assert measures.pictures == MINI.measured
    assert measures.seconds > 0
    assert measures.vae_seconds > 0


def test_a_known_error_gives_its_decibels(source):
    seen = []
    scaled = measure_decoder(Shifted(source.vae, 0.25), source, MINI, judged=lambda a, b: seen.append((a, b)) or 3.0)
    vae, tiny = seen[0]
    torch.testing.assert_close(tiny, 0.75 * vae)
    mse = [(0.25 * picture / 2).square().mean().item() for picture in vae]
    assert scaled.psnr_db == pytest.approx(-10 * math.log10(sum(mse) / len(mse)), abs=1e-4)
    assert scaled.psnr_mean_db == pytest.approx(sum(-10 * math.log10(e) for e in mse) / len(mse), abs=1e-4)
    assert scaled.psnr_low_db <= scaled.psnr_mean_db
    assert scaled.frechet == scaled.frechet_apart == 3.0
    assert len(seen[1][0]) == len(seen[1][1]) == MINI.measured // 2


def test_noise_is_not_that_of_another_seed(source):
    tiny = new_tiny_decoder(source.vae, latent_size=(8, 8), blocks=(1, 0), channels=8).eval()
    first, again, other = (measure_decoder(tiny, source, replace(MINI, seed=seed)) for seed in (0, 0, 1))
    assert first.frechet is None
    assert first.psnr_db == again.psnr_db != other.psnr_db


def test_the_judge_s_features_are_compared():
    judge = torch.nn.Linear(1, 1)
    judge.forward = lambda pictures: (pictures.mean((2, 3)), None)
    pictures = torch.rand(300, 3, 16, 16)
    distance = judged_by(judge, lambda a, b: abs(a.mean() - b.mean()) + len(a))
    assert distance(pictures, pictures + 0.5) == pytest.approx(300.5)
