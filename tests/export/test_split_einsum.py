"""The UNet rebuilt in (B, C, 1, S) is diffusers' own: same numbers, no linear layer, one transpose per attention."""

import copy
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import UNet2DConditionModel

from edgestep.artifact import BadInput
from edgestep.export.graph.split_einsum import split_einsum_unet
from edgestep.export.graph.split_einsum_blocks import channels_first
from edgestep.export.source.weights import LazyWeight
from tests.export.conftest import sqnr_db

SMALL: dict[str, Any] = {
    "sample_size": 8,
    "block_out_channels": (16, 32),
    "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
    "layers_per_block": 1,
    "norm_num_groups": 8,
    "cross_attention_dim": 24,
}
CONFIGS: dict[str, dict[str, Any]] = {
    "sd15": {"attention_head_dim": 4},
    "sd2": {"attention_head_dim": (2, 4), "use_linear_projection": True, "upcast_attention": True},
    "sdxl": {
        "attention_head_dim": (2, 4),
        "use_linear_projection": True,
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
        "transformer_layers_per_block": (1, 2),
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 8,
        "projection_class_embeddings_input_dim": 8 * 6 + 20,
    },
}


def made(name: str, **config: Any) -> UNet2DConditionModel:
    torch.manual_seed(0)
    return UNet2DConditionModel(**{**SMALL, **CONFIGS[name], **config}).eval().requires_grad_(False)


def rebuilt(unet: UNet2DConditionModel) -> Any:
    lazy = {
        name: LazyWeight(name, tuple(tensor.shape), lambda tensor=tensor: tensor.numpy())
        for name, tensor in unet.state_dict().items()
    }
    split, weights = split_einsum_unet(copy.deepcopy(unet), lazy)
    split.load_state_dict({name: torch.from_numpy(w.read()) for name, w in weights.items()}, assign=True)
    return split


def fed(name: str) -> tuple[torch.Tensor, dict[str, Any], torch.Tensor]:
    random = torch.Generator().manual_seed(1)
    added = {"text_embeds": torch.randn(1, 20, generator=random), "time_ids": torch.randn(1, 6, generator=random)}
    states = torch.randn(1, 7, 24, generator=random)
    more = {"added_cond_kwargs": added} if name == "sdxl" else {}
    return torch.randn(1, 4, 8, 8, generator=random), more, states


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("first", [False, True], ids=["tokens first", "channels first"])
def test_it_predicts_what_diffusers_unet_predicts(name, first):
    unet = made(name)
    noise, more, states = fed(name)
    expected = unet(noise, 999, states, return_dict=False, **more)[0]
    given = channels_first(states) if first else states
    out = rebuilt(unet)(noise, 999, given, return_dict=False, **more)[0]
    assert sqnr_db(expected.numpy(), out.numpy()) >= 100


@pytest.mark.parametrize("name", CONFIGS)
def test_no_linear_layer_and_no_token_layout_is_left(name):
    split = rebuilt(made(name))
    assert not [n for n, m in split.named_modules() if isinstance(m, torch.nn.Linear | torch.nn.LayerNorm)]
    noise, more, states = fed(name)
    program = torch.export.export(split, (noise, 999, channels_first(states)), {**more}, strict=False)
    moved = [n for n in program.graph.nodes if str(n.target) in ("aten.transpose.int", "aten.permute.default")]
    attentions = [n for n, _ in split.named_modules() if n.endswith((".attn1", ".attn2"))]
    assert len(moved) == len(attentions) > 0


def test_queries_carry_the_scale_of_the_scores():
    unet = made("sd15")
    name = "mid_block.attentions.0.transformer_blocks.0.attn1.to_q.weight"
    split, own = rebuilt(unet).state_dict()[name].numpy(), unet.state_dict()[name].numpy()
    assert split.shape == (*own.shape, 1, 1)
    width = own.shape[0] // 4  # of a head
    np.testing.assert_allclose(split[:, :, 0, 0], own / np.sqrt(width), rtol=1e-6)


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ({"attention_type": "gated"}, "down_blocks.0.attentions.0"),
        ({"mid_block_type": "UNetMidBlock2DSimpleCrossAttn"}, "mid_block.attentions.0"),
        ({"encoder_hid_dim": 12, "encoder_hid_dim_type": "text_proj"}, "encoder_hid_proj"),
    ],
)
def test_parts_that_it_does_not_know_are_refused(config, named):
    unet = made("sd15", **config)
    with pytest.raises(BadInput, match=rf"got a UNet whose {named} .* give --attention plain"):
        rebuilt(unet)
