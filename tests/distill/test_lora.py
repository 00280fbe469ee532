"""LoRAs: what is trained, that nothing else moves, and that merging changes no picture."""

import pytest
import torch

from edgestep.artifact import BadInput
from edgestep.distill.emoji.networks import new_unet
from edgestep.distill.emoji.recipe import EmojiRecipe
from edgestep.distill.lora import merged, trainable, trained_copy

SMALL = EmojiRecipe(unet_channels=(16, 32, 32), text_width=32, latent_channels=4, latent_size=4)


@pytest.fixture
def unet():
    torch.manual_seed(0)
    return new_unet(SMALL)


@pytest.fixture
def inputs():
    generator = torch.Generator().manual_seed(1)
    noise, embeds = torch.randn(2, 4, 4, 4, generator=generator), torch.randn(2, 5, 32, generator=generator)
    return noise, torch.tensor([3, 999]), embeds


def test_rank_0_trains_every_weight(unet):
    copied = trained_copy(unet, 0)
    assert len(trainable(copied)) == len(list(unet.parameters()))
    assert merged(copied) is copied


def test_loras_alone_are_trained_and_begin_as_the_teacher(unet, inputs):
    copied = trained_copy(unet, 3)
    names = [name for name, parameter in copied.named_parameters() if parameter.requires_grad]
    assert names and all("lora_" in name for name in names)
    assert {parameter.shape[0] for name, parameter in copied.named_parameters() if "lora_A" in name} == {3}
    with torch.no_grad():
        assert torch.equal(copied(*inputs).sample, unet(*inputs).sample)


def test_merged_draws_the_same_and_has_the_teachers_names(unet, inputs):
    copied = trained_copy(unet, 3)
    for parameter in trainable(copied):
        parameter.data.normal_(0, 0.05, generator=torch.Generator().manual_seed(2))
    plain = merged(copied)
    with torch.no_grad():
        drawn = copied(*inputs).sample
        torch.testing.assert_close(plain(*inputs).sample, drawn, atol=1e-4, rtol=1e-4)
        assert (unet(*inputs).sample - drawn).abs().max() > 1e-2
    assert set(plain.state_dict()) == set(unet.state_dict())


def test_without_peft_it_is_one_line(unet, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "peft", None)
    with pytest.raises(BadInput, match="without peft"):
        trained_copy(unet, 2)
