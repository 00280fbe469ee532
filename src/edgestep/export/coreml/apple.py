"""The layout that Apple's Swift StableDiffusion package reads, before its models are compiled.

TextEncoder    input_ids float32 [1,T]                 -> last_hidden_state (hidden_embeds in sdxl) [1,T,D],
                                                          pooled_outputs [1,D]
Unet           sample [1,C,h,w], timestep [1],
               encoder_hidden_states [1,D,1,T]
               (, time_ids [1,6], text_embeds [1,P])   -> noise_pred [1,C,h,w], the network's F, not x0
VAEDecoder     z [1,C,h,w]                             -> image [1,3,H,W] in about [-1, 1]

Everything is float32. The package looks up last_hidden_state, hidden_embeds and pooled_outputs by name, feeds the
UNet's inputs by theirs, and takes the only input or output of the others, whatever it is called. `timestep` and
`time_ids` are fed by it and change nothing: t is folded.
"""

from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

from edgestep.artifact import OneStep, TensorSpec
from edgestep.export.graph.decode import decode
from edgestep.export.graph.io import Shapes, Specs

BASES = ("sd", "sdxl")
"""What the package has pipelines for."""
FILES = {
    "text_encoder": "TextEncoder",
    "text_encoder_2": "TextEncoder2",
    "unet": "Unet",
    "vae_decoder": "VAEDecoder",
}
"""Component -> what the package calls its file, without the suffix."""
HIDDEN = {"sd": "last_hidden_state", "sdxl": "hidden_embeds"}

Body = Callable[[Any, Mapping[str, Any]], tuple[Any, ...]]


def has_apple_pipeline(contract: OneStep) -> bool:
    """Tell whether the split form is Apple's: a base with a pipeline, and no loop, whose steps are graphs of theirs."""
    return contract.base in BASES and not contract.next_steps


def apple_io(name: str, shapes: Shapes) -> tuple[Specs, Specs]:
    """Return inputs and outputs of a component."""
    if name == "vae_decoder":
        return (shapes.floats("z", *shapes.latents),), (shapes.floats("image", 1, 3, *shapes.picture),)
    if name == "unet":
        return _unet_io(shapes)
    config = shapes.configs[name]
    width = int(config["hidden_size"])
    pooled = int(config["projection_dim"]) if name == "text_encoder_2" else width
    tokens = shapes.contract.prompt_tokens
    hidden = shapes.floats(HIDDEN[shapes.contract.base], 1, tokens, width)
    return (shapes.floats("input_ids", 1, tokens),), (hidden, shapes.floats("pooled_outputs", 1, pooled))


def _unet_io(shapes: Shapes) -> tuple[Specs, Specs]:
    encoders = [name for name in ("text_encoder", "text_encoder_2") if name in shapes.configs]
    width = sum(int(shapes.configs[name]["hidden_size"]) for name in encoders)
    inputs: list[TensorSpec] = [
        shapes.floats("sample", *shapes.latents),
        shapes.floats("timestep", 1),
        shapes.floats("encoder_hidden_states", 1, width, 1, shapes.contract.prompt_tokens),
    ]
    if shapes.contract.base == "sdxl":
        pooled = int(shapes.configs["text_encoder_2"]["projection_dim"])
        inputs += [shapes.floats("time_ids", 1, 6), shapes.floats("text_embeds", 1, pooled)]
    return tuple(inputs), (shapes.floats("noise_pred", *shapes.latents),)


def apple_body(name: str, base: ModuleType, contract: OneStep, channels_first: bool) -> Body:
    """Return what a component computes; `channels_first`: its UNet takes the prompt's states as they are fed."""

    def text(graph: Any, feeds: Mapping[str, Any]) -> tuple[Any, ...]:
        import torch

        ids = feeds["input_ids"].to(torch.int32)
        out = getattr(graph, name)(ids, output_hidden_states=contract.base == "sdxl", return_dict=True)
        if contract.base == "sd":
            return out.last_hidden_state, out.pooler_output
        return out.hidden_states[-2], out.text_embeds if name == "text_encoder_2" else out.pooler_output

    def unet(graph: Any, feeds: Mapping[str, Any]) -> tuple[Any, ...]:
        states = feeds["encoder_hidden_states"]
        given = {**feeds, "encoder_hidden_states": states if channels_first else states.squeeze(2).transpose(1, 2)}
        return (base.predict(graph.unet, feeds["sample"], given, contract),)

    def decoder(graph: Any, feeds: Mapping[str, Any]) -> tuple[Any, ...]:
        return (decode(graph.vae, feeds["z"]),)

    return {"unet": unet, "vae_decoder": decoder}.get(name, text)
