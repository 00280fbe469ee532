"""What a package says of itself: each input and output in words, who made it, and the contract for programs."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from edgestep.artifact import Component, OneStep, TensorSpec, tool_versions
from edgestep.export.coreml.graphs import CoreMLGraphs
from edgestep.export.coreml.options import CoreMLOptions

WHAT = {
    "text_encoder": "Text encoder of a one-step image generator: token ids -> the prompt's embeddings.",
    "text_encoder_2": "Second text encoder of a one-step image generator: token ids -> the prompt's embeddings.",
    "unet": "Denoiser of a one-step image generator: noise and a prompt's embeddings -> {result}.",
    "transformer": "Denoiser of a one-step image generator: noise and a prompt's embeddings -> {result}.",
    "vae_decoder": "Decoder of a one-step image generator: latents -> picture.",
    "generator": "One-step image generator: token ids and noise -> picture.",
}
"""Component -> what it is."""
FEATURES = {
    "input_ids": "Token ids of the prompt, padded with {pad}.",
    "input_ids_2": "Token ids of the prompt for the second text encoder, padded with {pad_2}.",
    "attention_mask": "1 for tokens of the prompt, 0 for padding.",
    "encoder_attention_mask": "1 for tokens of the prompt, 0 for padding.",
    "noise": "Standard normal noise z.",
    "more_noise": "Standard normal noise of the later steps.",
    "sample": "Standard normal noise z, times k_in = {k_in:.9g}.",
    "hidden_states": "Standard normal noise z.",
    "timestep": "Not read: t = {timestep:g} is folded in. Any number will do.",
    "time_ids": "Not read: the size {height} x {width}, without a crop, is folded in. Any numbers will do.",
    "encoder_hidden_states": "Embeddings of the prompt{layout}.",
    "text_embeds": "Pooled embedding of the prompt, of the second text encoder.",
    "last_hidden_state": "Embeddings of the prompt.",
    "hidden_embeds": "Embeddings of the prompt: the last hidden states but one.",
    "pooled_outputs": "Pooled embedding of the prompt.",
    "pooler_output": "Pooled embedding of the prompt.",
    "noise_pred": "F, the network's prediction ({prediction}): x0 = {k_z:.9g} z - {k_e:.9g} F.",
    "out_sample": "x0, the denoised latents.",
    "z": "Latents to decode: x0 / {scale:.9g}{shift}.",
    "latent_sample": "Latents to decode: x0 / {scale:.9g}{shift}.",
}
"""Input or output -> what it is."""
PICTURES = {
    "uint8": "The picture, RGB.",
    "float32": "The picture, RGB, from 0 to 1, channels last.",
    "sample": "The picture, RGB, from -1 to 1; clip what lies beyond.",
}


def describe(model: Any, component: Component, graphs: CoreMLGraphs, options: CoreMLOptions, precision: str) -> None:
    """Write it into a coremltools MLModel."""
    contract = graphs.contract
    model.author = "edgestep"
    model.version = tool_versions()["edgestep"]
    model.license = graphs.checkpoint.licence
    model.short_description = _what(component.name, graphs)
    for spec in component.inputs:
        model.input_description[spec.name] = described(spec, component, contract)
    for spec in component.outputs:
        model.output_description[spec.name] = described(spec, component, contract)
    model.user_defined_metadata.pop("com.github.apple.coremltools.conversion_date", None)
    model.user_defined_metadata.update(
        {
            "edgestep.contract": json.dumps(asdict(contract), sort_keys=True),
            "edgestep.component": component.name,
            "edgestep.precision": precision,
            **{f"edgestep.{name}": value for name, value in options.told.items()},
        }
    )


def described(spec: TensorSpec, component: Component, contract: OneStep) -> str:
    """Return what an input or output is, in words."""
    if spec.name == "image" or (spec.name == "sample" and component.name == "vae_decoder"):
        return PICTURES["sample" if component.name == "vae_decoder" else spec.dtype]
    if spec.name.startswith("hidden_states."):
        return f"Hidden states before layer {spec.name.rpartition('.')[2]}."
    return FEATURES[spec.name].format_map(_facts(spec, contract))


def _what(name: str, graphs: CoreMLGraphs) -> str:
    """Return what a component is; unet_2 of a loop is a denoiser too."""
    result = f"its prediction, {_prediction(graphs.contract)}" if graphs.is_apple else "x0, the denoised latents"
    return (WHAT.get(name) or WHAT[name.rpartition("_")[0]]).format(result=result)


def _prediction(contract: OneStep) -> str:
    return {"epsilon": "epsilon, the noise", "v_prediction": "v", "sample": "the sample"}.get(
        contract.prediction_type, contract.prediction_type
    )


def _facts(spec: TensorSpec, contract: OneStep) -> Mapping[str, Any]:
    height, width = contract.image_size
    return {
        "pad": contract.pad_token_id,
        "pad_2": contract.more_tokenizers[0].pad_token_id if contract.more_tokenizers else contract.pad_token_id,
        "k_in": contract.k_in,
        "k_z": contract.k_z,
        "k_e": contract.k_e,
        "timestep": contract.timestep,
        "height": height,
        "width": width,
        "layout": ", channels first" if len(spec.shape) == 4 else "",
        "prediction": _prediction(contract),
        "scale": contract.latent_scale,
        "shift": f" + {contract.latent_shift:.9g}" if contract.latent_shift else "",
    }
