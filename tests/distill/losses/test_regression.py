"""The regression losses against their formulas, and names that there is nothing for."""

import sys
from types import ModuleType

import pytest
import torch
from torch.nn import functional as F

from edgestep.artifact import BadInput
from edgestep.distill.losses.regression import regression_of


@pytest.fixture
def pair() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(3, 2, 4, 4, generator=generator), torch.randn(3, 2, 4, 4, generator=generator)


def test_l2_is_the_mean_square(pair):
    x, target = pair
    assert float(regression_of("l2")(x, target)) == pytest.approx(float(((x - target) ** 2).mean()))


def test_huber_is_a_norm_far_away_and_a_square_nearby(pair):
    x, target = (tensor.double() for tensor in pair)
    huber, c, size = regression_of("huber"), 0.00054 * 32**0.5, 32
    norms = [float((a - b).norm()) for a, b in zip(x, target, strict=True)]
    formula = sum((n * n + c * c) ** 0.5 - c for n in norms) / 3 / size**0.5
    assert float(huber(x, target)) == pytest.approx(formula, rel=1e-9)
    assert float(huber(x, x)) == 0.0
    near = target + 1e-6
    assert float(huber(near, target)) == pytest.approx(size * 1e-12 / (2 * c) / size**0.5, rel=1e-3)
    assert float(huber(target + 1000, target)) == pytest.approx(1000, rel=1e-3)


@pytest.mark.parametrize("kind", ["l1", "", "LPIPS"])
def test_another_kind_is_refused(kind: str):
    with pytest.raises(BadInput, match="expected one of l2, huber, lpips"):
        regression_of(kind)


def test_lpips_without_decoder_or_package_is_refused(monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(BadInput, match="no decoder"):
        regression_of("lpips")
    monkeypatch.setitem(sys.modules, "lpips", None)
    with pytest.raises(BadInput, match="pip install lpips"):
        regression_of("lpips", lambda latents: latents)


def test_lpips_compares_enlarged_pictures_of_the_latents(pair, monkeypatch: pytest.MonkeyPatch):
    """A stand-in for the package: what it is given, and where its gradient goes."""
    asked: list = []

    class Network(torch.nn.Module):
        def __init__(self, net: str, verbose: bool):
            super().__init__()
            asked.append((net, verbose))
            self.scale = torch.nn.Parameter(torch.tensor(2.0))

        def forward(self, first, second):
            asked.append((first.shape, second.requires_grad))
            return self.scale * (first - second).square().mean((1, 2, 3), keepdim=True)

    package = ModuleType("lpips")
    monkeypatch.setattr(package, "LPIPS", Network, raising=False)
    monkeypatch.setitem(sys.modules, "lpips", package)
    x, target = pair
    x.requires_grad_(True)
    loss = regression_of("lpips", lambda latents: 3 * latents)(x, target)
    loss.backward()
    big = [F.interpolate(3 * latents, (224, 224), mode="bilinear", align_corners=False) for latents in (x, target)]
    assert float(loss) == pytest.approx(2 * float((big[0] - big[1]).square().mean()), rel=1e-5)
    assert asked == [("vgg", False), ((3, 2, 224, 224), False)]
    assert x.grad is not None and x.grad.abs().sum() > 0
