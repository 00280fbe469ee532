"""The tiny decoder's shape against the sum of its convolutions, worked out by hand."""

import pytest
import torch

from edgestep.artifact import BadInput
from edgestep.distill.decoder.networks import MOST, UNIT, decoder_flops, decoder_parameters, new_tiny_decoder, widest


def flops_by_hand(latent: int, c: int, blocks: tuple[int, ...], height: int, width: int) -> int:
    """Two for every multiply-add of the 3 x 3 convolutions: the first, three a block, one after each level."""
    total = 2 * 9 * latent * c * height * width
    for level, count in enumerate(blocks):
        last = level == len(blocks) - 1
        area = height * width * 4**level
        total += 2 * 9 * 3 * count * c * c * area
        total += 2 * 9 * c * (3 if last else c) * (area if last else 4 * area)
    return total


@pytest.mark.parametrize(("blocks", "channels", "size"), [((2, 1), 8, (8, 8)), ((0, 3), 12, (4, 8))])
def test_operations_are_those_of_the_convolutions(source, blocks, channels, size):
    tiny = new_tiny_decoder(source.vae, latent_size=size, blocks=blocks, channels=channels)
    assert decoder_flops(tiny, (4, *size)) == flops_by_hand(4, channels, blocks, *size)


def test_the_widest_that_fits_is_taken(source):
    budget = 0.7 * decoder_flops(source.vae, (4, 8, 8))
    channels = widest(source.vae, (8, 8), (1, 0), 0.7)
    assert flops_by_hand(4, channels, (1, 0), 8, 8) <= budget < flops_by_hand(4, channels + UNIT, (1, 0), 8, 8)
    tiny = new_tiny_decoder(source.vae, latent_size=(8, 8), blocks=(1, 0), flops=0.7)
    assert tiny.config["decoder_block_out_channels"] == (channels, channels)


def test_a_large_budget_is_not_used_up(source):
    assert widest(source.vae, (8, 8), (1, 0), 1e9) == MOST


def test_the_emoji_s_decoder_keeps_to_a_quarter(emoji):
    from diffusers import AutoencoderKL

    from edgestep.distill.decoder.recipe import DecoderRecipe

    vae = AutoencoderKL.from_pretrained(emoji, subfolder="vae")
    recipe = DecoderRecipe()
    tiny = new_tiny_decoder(vae, latent_size=(8, 8), blocks=recipe.blocks, flops=recipe.flops)
    assert decoder_flops(tiny, (16, 8, 8)) <= 0.25 * decoder_flops(vae, (16, 8, 8))
    assert tiny.decode(torch.zeros(2, 16, 8, 8)).sample.shape == (2, 3, 64, 64)


def test_weights_are_counted_and_the_encoder_is_zeros(source):
    tiny = new_tiny_decoder(source.vae, latent_size=(8, 8), blocks=(1, 0), channels=8)
    first, block, up, last = 9 * 4 * 8 + 8, 3 * (9 * 8 * 8 + 8), 9 * 8 * 8, 9 * 8 * 3 + 3
    assert decoder_parameters(tiny) == first + block + up + last
    assert tiny.encode(torch.ones(1, 3, 16, 16)).latents.abs().max() == 0


@pytest.mark.parametrize(
    ("blocks", "flops", "said"),
    [((1, 0, 0), 0.5, "2 numbers"), ((1, -1), 0.5, "2 numbers"), ((9, 9), 0.01, "0.01 times")],
)
def test_what_does_not_fit_is_refused(source, blocks, flops, said):
    with pytest.raises(BadInput, match=said):
        new_tiny_decoder(source.vae, latent_size=(8, 8), blocks=blocks, flops=flops)
