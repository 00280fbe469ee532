"""Stable Diffusion XL and its distilled kin: two CLIPs, their penultimate states side by side, and a pooled prompt."""

from collections.abc import Mapping
from typing import Any

from edgestep.artifact import OneStep, TensorSpec
from edgestep.export.graph.fold import Folded, fold_sdxl
from edgestep.export.graph.io import Shapes, Specs
from edgestep.export.source.weights import Weights

DENOISER = "unet"
IDS = {"text_encoder": "input_ids", "text_encoder_2": "input_ids_2"}
FIRST = {"text_encoder": ("last_hidden_state", "pooler_output"), "text_encoder_2": ("text_embeds", "last_hidden_state")}
"""Text encoder -> what it returns before its hidden states; openvino_genai counts on this order."""


def prompt_io(shapes: Shapes) -> dict[str, tuple[Specs, Specs]]:
    """Return text encoder name -> its inputs and outputs, with every hidden state, as optimum and genai want them.

    Both are fed `input_ids`; in the fused form the second's are called `input_ids_2`.
    """
    table = {}
    for name, first in FIRST.items():
        config = shapes.configs[name]
        width, layers = int(config["hidden_size"]), int(config["num_hidden_layers"])
        pooled = int(config["projection_dim"]) if name == "text_encoder_2" else width
        outputs = [
            shapes.states(width, output) if output == "last_hidden_state" else shapes.floats(output, shapes.one, pooled)
            for output in first
        ]
        outputs += [shapes.states(width, f"hidden_states.{i}") for i in range(layers)]
        table[name] = ((shapes.ids(IDS[name]),), tuple(outputs))
    return table


def denoiser_io(shapes: Shapes) -> tuple[Specs, Specs]:
    """Return the UNet's inputs and outputs; `timestep` and fixed `time_ids` are not used, clients hand them over."""
    width = sum(int(shapes.configs[name]["hidden_size"]) for name in IDS)
    return (
        shapes.floats("sample", *shapes.latents),
        TensorSpec("timestep", "int64", ()),
        shapes.states(width),
        shapes.floats("text_embeds", shapes.one, int(shapes.configs["text_encoder_2"]["projection_dim"])),
        shapes.floats("time_ids", shapes.one, 6),
    ), (shapes.floats("out_sample", *shapes.latents),)


def time_ids(contract: OneStep) -> tuple[float, ...]:
    """Return original size, crop and target size: no crop, the picture's own size."""
    height, width = contract.image_size
    return (float(height), float(width), 0.0, 0.0, float(height), float(width))


def fold(unet: Any, weights: Weights, contract: OneStep, timestep: float, shapes: Shapes) -> Folded:
    """Fold t, and the time_ids where the resolution is fixed."""
    return fold_sdxl(unet, weights, timestep, None if shapes.resolution else time_ids(contract))


def encode(graph: Any, name: str, feeds: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return the outputs of a text encoder, in the order of `prompt_io`."""
    encoder = getattr(graph, name)
    out = encoder(feeds[IDS[name]], output_hidden_states=True, return_dict=True)
    first = [out[key] for key in FIRST[name]]
    return (*first, *out.hidden_states[:-1])


def condition(graph: Any, feeds: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the denoiser is told of the prompt, and of the picture's size where that is dynamic."""
    import torch

    first = encode(graph, "text_encoder", feeds)
    second = encode(graph, "text_encoder_2", feeds)
    states = torch.cat([first[-1], second[-1]], dim=-1)
    given = {"encoder_hidden_states": states, "text_embeds": second[0]}
    if "time_ids" in feeds:
        given["time_ids"] = feeds["time_ids"]
    return given


def predict(unet: Any, x_in: Any, given: Mapping[str, Any], contract: OneStep) -> Any:
    """Return F(x_in, t, c)."""
    added = {"text_embeds": given["text_embeds"], "time_ids": given.get("time_ids")}
    return unet(x_in, 0, given["encoder_hidden_states"], added_cond_kwargs=added, return_dict=False)[0]
