"""A UNet2DConditionModel -> the same function in the layout (B, C, 1, S), attention split by heads, for Apple's ANE.

Every linear layer becomes a 1x1 convolution, every layer norm goes over channels, and each head's attention is two
einsums; one transpose is left per attention, of its keys. Weights are reshaped when they are read. The prompt's states
may be [B, L, D] or [B, D, 1, L].
"""

from typing import Any

from edgestep.artifact import BadInput
from edgestep.export.graph.skeleton import changed, shapes_of
from edgestep.export.source.weights import LazyWeight, Weights


def split_einsum_unet(unet: Any, weights: Weights) -> tuple[Any, Weights]:
    """Rebuild a meta UNet in place and return it with its weights. Raises BadInput for parts that are not known."""
    from diffusers.models.transformers.transformer_2d import Transformer2DModel
    from torch import nn

    from edgestep.export.graph.split_einsum_blocks import SplitTransformer, VectorConv, channels_first

    for name, module in list(unet.named_modules()):
        if isinstance(module, Transformer2DModel):
            _check_transformer(name, module)
            _replace(unet, name, SplitTransformer(module))
    _check_rest(unet)
    for name, module in list(unet.named_modules()):
        if isinstance(module, nn.Linear):
            _replace(unet, name, VectorConv(module))
    unet.process_encoder_hidden_states = lambda encoder_hidden_states, added_cond_kwargs: channels_first(
        encoder_hidden_states
    )
    return unet, _reshaped(unet, weights)


def _replace(root: Any, path: str, module: Any) -> None:
    parent, _, name = path.rpartition(".")
    setattr(root.get_submodule(parent), name, module)


def _reshaped(unet: Any, weights: Weights) -> dict[str, LazyWeight]:
    """Return the weights, the matrices of linear layers as 1x1 convolutions, and the queries' scaled."""
    scales = {name: getattr(module, "weight_scale", 1.0) for name, module in unet.named_modules()}
    found = {}
    for name, shape in shapes_of(unet).items():
        weight, scale = weights[name], scales[name.rpartition(".")[0]]
        found[name] = weight if weight.shape == shape and scale == 1 else _as_conv(weight, shape, scale)
    return found


def _as_conv(weight: LazyWeight, shape: tuple[int, ...], scale: float) -> LazyWeight:
    def convolution(array: Any) -> Any:
        return (array if scale == 1 else array.astype("float64") * scale).reshape(shape)

    return changed(weight, f"1x1*{scale!r}", shape, convolution)


def _check_transformer(name: str, transformer: Any) -> None:
    for block in transformer.transformer_blocks:
        if not _is_known(block) or not all(_is_plain(attention) for attention in (block.attn1, block.attn2)):
            raise _unknown(name)


def _is_known(block: Any) -> bool:
    """Tell whether a block is norm, attention to itself, norm, attention to the prompt, norm, GEGLU, and no more."""
    from diffusers.models.activations import GEGLU

    extra = block.pos_embed is not None or block.only_cross_attention or hasattr(block, "fuser")
    return (
        block.norm_type == "layer_norm" and block.attn2 is not None and isinstance(block.ff.net[0], GEGLU) and not extra
    )


def _is_plain(attention: Any) -> bool:
    parts = ("group_norm", "spatial_norm", "norm_cross", "norm_q", "norm_k", "added_kv_proj_dim")
    return all(getattr(attention, part, None) is None for part in parts) and not attention.residual_connection


def _check_rest(unet: Any) -> None:
    """Refuse a UNet that has attention elsewhere, or makes its own of the prompt's states."""
    from diffusers.models.attention_processor import Attention

    if unet.encoder_hid_proj is not None:
        raise _unknown("encoder_hid_proj")
    for name, module in unet.named_modules():
        if isinstance(module, Attention):
            raise _unknown(name)


def _unknown(name: str) -> BadInput:
    return BadInput(
        f"got a UNet whose {name} is of a kind that split-einsum does not know; expected Stable Diffusion's blocks; "
        "give --attention plain"
    )
