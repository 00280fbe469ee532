"""Tensor names as files have them -> names of the module that is built: prefixes off, old names new, extras dropped.

vae      ...attentions.0.query.weight [C,C,1,1]  ->  ...attentions.0.to_q.weight [C,C]
unet     module.conv_in.weight                   ->  conv_in.weight
T5       shared.weight                           ->  and encoder.embed_tokens.weight, the same one
"""

import re
from collections.abc import Callable
from dataclasses import replace

from edgestep.artifact import BadInput
from edgestep.export.source.weights import LazyWeight, Weights

OLD_ATTENTION = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
"""The VAE's attention before diffusers 0.15 -> since."""
WRAPPERS = ("module.", "_orig_mod.", "unet.", "transformer.")
"""What training wrappers put before every name."""
T5_TIED = ("shared.weight", "encoder.embed_tokens.weight")


def named_as_module(kind: str, weights: Weights, extras: tuple[str, ...]) -> dict[str, LazyWeight]:
    """Return the weights under the names that class `kind` has; nothing is read. `extras` are dropped."""
    named = dict(weights)
    if kind in RULES:
        named = RULES[kind](named)
    return {name: weight for name, weight in named.items() if name not in extras}


def without_wrappers(weights: Weights, origin: str) -> dict[str, LazyWeight]:
    """Strip prefixes that every name has. Raises BadInput for the layout that the original LDM code writes."""
    named = dict(weights)
    if any(name.startswith("model.diffusion_model.") for name in named):
        raise BadInput(
            f"got {origin} with the names of the original latent diffusion code (model.diffusion_model...); expected "
            "those of diffusers (down_blocks...); convert it with diffusers' from_single_file and save_pretrained"
        )
    for prefix in WRAPPERS * 2:
        if named and all(name.startswith(prefix) for name in named):
            named = _renamed(named, lambda name, prefix=prefix: name.removeprefix(prefix))
    return named


def _renamed(weights: Weights, rename: Callable[[str], str]) -> dict[str, LazyWeight]:
    return {rename(name): replace(weight, name=rename(name)) for name, weight in weights.items()}


def _vae(weights: Weights) -> dict[str, LazyWeight]:
    def rename(name: str) -> str:
        match = re.fullmatch(r"(.*\.attentions\.\d+\.)(query|key|value|proj_attn)(\..*)", name)
        return f"{match[1]}{OLD_ATTENTION[match[2]]}{match[3]}" if match else name

    renamed = _renamed(weights, rename)
    return {name: _flat(weight) if _is_attention(name) else weight for name, weight in renamed.items()}


def _is_attention(name: str) -> bool:
    return re.search(r"\.attentions\.\d+\.to_(q|k|v|out\.0)\.weight$", name) is not None


def _flat(weight: LazyWeight) -> LazyWeight:
    """A 1x1 convolution [C,C,1,1] as the linear layer [C,C] that it is."""
    if len(weight.shape) != 4 or weight.shape[2:] != (1, 1):
        return weight
    shape = weight.shape[:2]
    return replace(weight, shape=shape, read=lambda: weight.read().reshape(shape), key=f"{weight.key}|flat")


def _t5(weights: Weights) -> dict[str, LazyWeight]:
    named = dict(weights)
    for here, other in (T5_TIED, T5_TIED[::-1]):
        if here in named and other not in named:
            named[other] = replace(named[here], name=other)
    return {name: weight for name, weight in named.items() if not name.startswith("decoder.")}


def _gemma(weights: Weights) -> dict[str, LazyWeight]:
    """Gemma2ForCausalLM's `model.layers...` as Gemma2Model's `layers...`."""
    return _renamed(weights, lambda name: name.removeprefix("model."))


RULES: dict[str, Callable[[Weights], dict[str, LazyWeight]]] = {
    "AutoencoderKL": _vae,
    "T5EncoderModel": _t5,
    "Gemma2Model": _gemma,
}
"""Class -> how its files' names differ from its own."""
