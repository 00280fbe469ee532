"""PSNR and SSIM against the harness's, which numpy computes picture by picture."""

import pytest
import torch

from edgestep.distill.decoder.similarity import MOST, psnr, ssim
from edgestep.harness.parity import measures


@pytest.mark.parametrize("shape", [(3, 3, 16, 16), (2, 3, 11, 24)])
def test_both_agree_with_the_harness(shape):
    generator = torch.Generator().manual_seed(1)
    reference = torch.rand(shape, generator=generator)
    output = (reference + 0.2 * torch.randn(shape, generator=generator)).clamp(0, 1)
    pairs = [(a.permute(1, 2, 0).numpy(), b.permute(1, 2, 0).numpy()) for a, b in zip(reference, output, strict=True)]
    assert psnr(reference, output).tolist() == pytest.approx([measures.psnr_db(a, b) for a, b in pairs], abs=1e-6)
    assert ssim(reference, output).tolist() == pytest.approx([measures.ssim(a, b) for a, b in pairs], abs=1e-6)


def test_equal_pictures_and_a_nan():
    picture = torch.rand(1, 3, 16, 16)
    assert psnr(picture, picture).item() == MOST
    assert ssim(picture, picture).item() == pytest.approx(1)
    assert psnr(picture, picture * torch.nan).isnan().all()
