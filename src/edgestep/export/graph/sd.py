"""Stable Diffusion 1.5 and 2.1, their turbo, LCM and flow kin: one CLIP, a UNet, x0 = k_z z - k_e F."""

from collections.abc import Mapping
from typing import Any

from edgestep.artifact import OneStep, TensorSpec
from edgestep.export.graph.fold import Folded, fold_sd
from edgestep.export.graph.io import Shapes, Specs
from edgestep.export.source.weights import Weights

DENOISER = "unet"


def prompt_io(shapes: Shapes) -> dict[str, tuple[Specs, Specs]]:
    """Return text encoder name -> its inputs and outputs."""
    width = int(shapes.configs["text_encoder"]["hidden_size"])
    return {"text_encoder": ((shapes.ids(),), (shapes.states(width, "last_hidden_state"),))}


def denoiser_io(shapes: Shapes) -> tuple[Specs, Specs]:
    """Return the UNet's inputs and outputs; `timestep` is not used, clients hand it over."""
    width = int(shapes.configs["text_encoder"]["hidden_size"])
    return (
        shapes.floats("sample", *shapes.latents),
        TensorSpec("timestep", "int64", ()),
        shapes.states(width),
    ), (shapes.floats("out_sample", *shapes.latents),)


def fold(unet: Any, weights: Weights, contract: OneStep, timestep: float, shapes: Shapes) -> Folded:
    """Fold t."""
    return fold_sd(unet, weights, timestep, contract.guidance_embedding)


def encode(graph: Any, name: str, feeds: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return the outputs of a text encoder."""
    return (graph.text_encoder(feeds["input_ids"], return_dict=False)[0],)


def condition(graph: Any, feeds: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the denoiser is told of the prompt."""
    return {"encoder_hidden_states": encode(graph, "text_encoder", feeds)[0]}


def predict(unet: Any, x_in: Any, given: Mapping[str, Any], contract: OneStep) -> Any:
    """Return F(x_in, t, c). The UNet is handed t = 0: nothing in it reads t any more."""
    return unet(x_in, 0, given["encoder_hidden_states"], return_dict=False)[0]
