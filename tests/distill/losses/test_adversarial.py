"""DMD2's GAN losses against closed forms, the head's shape, and what the generator's turn may change."""

import math

import pytest
import torch
from diffusers import UNet2DConditionModel

from edgestep.distill.losses.adversarial import AdversarialHead, ScoreAndHead, discriminator_loss, generator_loss

REAL, DRAWN = [1.5, -0.2, 40.0], [-2.0, 0.0, 3.0]


def log1pexp(x: float) -> float:
    return math.log1p(math.exp(-abs(x))) + max(x, 0.0)


def test_the_losses_are_minus_log_of_the_sigmoids():
    real, drawn = torch.tensor(REAL), torch.tensor(DRAWN, requires_grad=True)
    wanted = sum(log1pexp(-x) for x in REAL) / 3 + sum(log1pexp(x) for x in DRAWN) / 3
    assert discriminator_loss(real, drawn).item() == pytest.approx(wanted, rel=1e-6)
    loss = generator_loss(drawn)
    assert loss.item() == pytest.approx(sum(log1pexp(-x) for x in DRAWN) / 3, rel=1e-6)
    loss.backward()
    expected = [-1 / (1 + math.exp(x)) / 3 for x in DRAWN]  # d softplus(-x) = -sigmoid(-x): towards "real"
    torch.testing.assert_close(drawn.grad, torch.tensor(expected))


def test_undecided_costs_log_two_a_side():
    zeros = torch.zeros(5)
    assert float(discriminator_loss(zeros, zeros)) == pytest.approx(2 * math.log(2))
    assert float(generator_loss(zeros)) == pytest.approx(math.log(2))


@pytest.mark.parametrize("places", [1, 2, 8])
def test_the_head_gives_one_logit_a_picture(places: int):
    logits = AdversarialHead(16)(torch.randn(3, 16, places, places))
    assert logits.shape == (3,)


def test_score_and_head_look_at_the_middle_block(parts):
    unet: UNet2DConditionModel = parts.teacher.unet
    torch.manual_seed(0)
    both = ScoreAndHead(unet, AdversarialHead(32))
    x, t, embeds = torch.randn(2, 4, 8, 8), torch.tensor([10, 900]), torch.randn(2, 16, 32)
    middle: list[torch.Tensor] = []
    handle = unet.mid_block.register_forward_hook(lambda _module, _inputs, output: middle.append(output))
    with torch.no_grad():
        predicted, logits = both(x, t, embeds)
        torch.testing.assert_close(predicted, unet(x, t, embeds).sample)
        torch.testing.assert_close(logits, both.head(middle[0]))
    handle.remove()
    unet.mid_block._forward_hooks.clear()
