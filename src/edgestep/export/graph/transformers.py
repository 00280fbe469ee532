"""PixArt-alpha and Sana: a language model with a mask for the prompt, a transformer for the denoiser."""

from collections.abc import Mapping
from typing import Any

from edgestep.artifact import OneStep, TensorSpec
from edgestep.export.graph.fold import Folded, fold_constants
from edgestep.export.graph.io import Shapes, Specs
from edgestep.export.source.weights import Weights

DENOISER = "transformer"
SANA_STATES = 300
"""Sana reads that many of the prompt's states: the first, and the last 299 (after its instruction)."""
WIDTHS = ("d_model", "hidden_size")


def prompt_io(shapes: Shapes) -> dict[str, tuple[Specs, Specs]]:
    """Return text encoder name -> its inputs and outputs; it hands on the mask that goes with its states."""
    width = _width(shapes)
    states = shapes.floats("last_hidden_state", shapes.one, _states(shapes.contract), width)
    mask = TensorSpec("encoder_attention_mask", "int64", states.shape[:2])
    return {"text_encoder": ((shapes.ids(), shapes.ids("attention_mask")), (states, mask))}


def denoiser_io(shapes: Shapes) -> tuple[Specs, Specs]:
    """Return the transformer's inputs and outputs."""
    tokens = _states(shapes.contract)
    return (
        shapes.floats("hidden_states", *shapes.latents),
        TensorSpec("timestep", "int64", ()),
        shapes.floats("encoder_hidden_states", shapes.one, tokens, _width(shapes)),
        TensorSpec("encoder_attention_mask", "int64", (shapes.one, tokens)),
    ), (shapes.floats("out_sample", *shapes.latents),)


def _width(shapes: Shapes) -> int:
    config = shapes.configs["text_encoder"]
    return int(next(config[key] for key in WIDTHS if key in config))


def _states(contract: OneStep) -> int:
    return min(SANA_STATES, contract.prompt_tokens) if contract.base == "sana" else contract.prompt_tokens


def fold(transformer: Any, weights: Weights, contract: OneStep, timestep: float, shapes: Shapes) -> Folded:
    """Fold t, and what else the embedding of t reads: the guidance scale (Sana), the picture's size (PixArt)."""
    import torch

    real = torch.float64
    if contract.base == "sana":  # the contract's t is the flow's time, TrigFlow's angle by 2503.09641, equation 4
        scale = (contract.guidance_embedding or 0.0) * float(transformer.config.guidance_embeds_scale)
        named = {"guidance": torch.tensor([scale], dtype=real), "hidden_dtype": real}
        return fold_constants(transformer, weights, "time_embed", (torch.tensor([timestep], dtype=real),), named)
    height, width = contract.image_size
    added = {
        "resolution": torch.tensor([[float(height), float(width)]], dtype=real),
        "aspect_ratio": torch.tensor([[height / width]], dtype=real),
    }
    named = {"batch_size": 1, "hidden_dtype": real}
    return fold_constants(transformer, weights, "adaln_single", (torch.tensor([timestep], dtype=real), added), named)


def encode(graph: Any, name: str, feeds: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return the text encoder's states, and the mask over them."""
    import torch

    mask = feeds["attention_mask"]
    states = graph.text_encoder(feeds["input_ids"], attention_mask=mask, return_dict=True)[0]
    if states.shape[1] > SANA_STATES:
        states, mask = (torch.cat([a[:, :1], a[:, 1 - SANA_STATES :]], dim=1) for a in (states, mask))
    return states, mask + 0  # an output that is an input would be dropped


def condition(graph: Any, feeds: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the denoiser is told of the prompt."""
    states, mask = encode(graph, "text_encoder", feeds)
    return {"encoder_hidden_states": states, "encoder_attention_mask": mask}


def predict(transformer: Any, x_in: Any, given: Mapping[str, Any], contract: OneStep) -> Any:
    """Return F(x_in, t, c); PixArt's second half of the channels, a variance, is not used in one step."""
    arguments = {
        "encoder_hidden_states": given["encoder_hidden_states"],
        "encoder_attention_mask": given["encoder_attention_mask"],
        "timestep": x_in.new_zeros(x_in.shape[0]),  # not read any more
        "return_dict": False,
    }
    if contract.base == "pixart":
        arguments["added_cond_kwargs"] = {"resolution": None, "aspect_ratio": None}
    else:
        arguments["guidance"] = x_in.new_zeros(1)  # not read any more
    return transformer(x_in, **arguments)[0][:, : x_in.shape[1]]
