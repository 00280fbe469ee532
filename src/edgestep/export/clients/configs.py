"""A Checkpoint -> model_index.json and each component's config.json, saying what the artifact's graphs are.

They are the checkpoint's own, but for what was folded in or put in place of something: a client would act on it.
"""

from collections.abc import Mapping
from typing import Any

from edgestep.export.recipe.sizes import latent_scale, sizes_of
from edgestep.export.source.checkpoint import Checkpoint
from edgestep.export.source.json_files import read_json

DIFFUSERS_VERSION = "0.36.0"
PIPELINES = {
    "sd": "StableDiffusionPipeline",
    "sdxl": "StableDiffusionXLPipeline",
    "pixart": "PixArtAlphaPipeline",
    "sana": "SanaSprintPipeline",
}
"""Base -> pipeline. With its guidance embedding folded in, a latent consistency model is a plain Stable Diffusion."""
KL = "AutoencoderKL"
CLASSES = {
    "sd": {"text_encoder": "CLIPTextModel", "unet": "UNet2DConditionModel", "vae": KL},
    "sdxl": {
        "text_encoder": "CLIPTextModel",
        "text_encoder_2": "CLIPTextModelWithProjection",
        "unet": "UNet2DConditionModel",
        "vae": KL,
    },
    "pixart": {"text_encoder": "T5EncoderModel", "transformer": "PixArtTransformer2DModel", "vae": KL},
    "sana": {"text_encoder": "Gemma2Model", "transformer": "SanaTransformer2DModel", "vae": "AutoencoderDC"},
}
"""Base -> component -> class. A tiny decoder is called AutoencoderKL too: clients know no other, and run it alike."""
NOWHERE = ("_name_or_path", "_commit_hash")
"""Keys that say where the publisher's files lay."""
MORE = {
    "sd": {
        "feature_extractor": [None, None],
        "image_encoder": [None, None],
        "requires_safety_checker": False,
        "safety_checker": [None, None],
    },
    "sdxl": {"add_watermarker": False, "feature_extractor": [None, None], "image_encoder": [None, None]},
    "pixart": {},
    "sana": {},
}
"""Base -> what else its pipeline is made with."""


def model_index(checkpoint: Checkpoint, scheduler: str) -> dict[str, Any]:
    """Return model_index.json; `scheduler` is the class of the scheduler that is written."""
    base, classes = checkpoint.base, CLASSES[checkpoint.base]
    encoders = {name: ["transformers", kind] for name, kind in classes.items() if name.startswith("text_encoder")}
    others = {name: ["diffusers", kind] for name, kind in classes.items() if name not in encoders}
    more = dict(MORE[base])
    if base == "sdxl":
        own = read_json(checkpoint.folder / "model_index.json")
        more["force_zeros_for_empty_prompt"] = bool(own.get("force_zeros_for_empty_prompt", True))
    return {
        "_class_name": PIPELINES[base],
        "_diffusers_version": DIFFUSERS_VERSION,
        **more,
        **encoders,
        **others,
        **{name: ["transformers", _tokenizer_class(checkpoint, name)] for name in checkpoint.tokenizers},
        "scheduler": ["diffusers", scheduler],
        "vae_decoder": ["diffusers", classes["vae"]],
    }


def component_configs(checkpoint: Checkpoint) -> dict[str, dict[str, Any]]:
    """Return folder -> config.json: text encoders, unet or transformer, vae_decoder."""
    changes = {"unet": _unet, "transformer": _transformer, "vae": _decoder}
    found = {}
    for name in CLASSES[checkpoint.base]:
        change = changes.get(name, lambda _, __: {})
        own = {key: value for key, value in checkpoint.configs[name].items() if key not in NOWHERE}
        found["vae_decoder" if name == "vae" else name] = {**own, **change(checkpoint, own)}
    return found


def _tokenizer_class(checkpoint: Checkpoint, name: str) -> str:
    """Return the class that reads the files that are there: the slow one needs its vocab.json or sentencepiece."""
    if checkpoint.base == "pixart":
        return "T5TokenizerFast"
    if checkpoint.base == "sana":
        return "GemmaTokenizerFast"
    return "CLIPTokenizer" if (checkpoint.folder / name / "vocab.json").is_file() else "CLIPTokenizerFast"


def _unet(checkpoint: Checkpoint, _: Mapping[str, Any]) -> dict[str, Any]:
    """A client that reads time_cond_proj_dim would feed a guidance embedding, which the graph has no input for."""
    return {"sample_size": _sample_size(checkpoint), "time_cond_proj_dim": None}


def _transformer(checkpoint: Checkpoint, own: Mapping[str, Any]) -> dict[str, Any]:
    """The graph returns x0 alone, no variance beside it, and takes no guidance scale."""
    folded = {"guidance_embeds": False} if "guidance_embeds" in own else {}
    return {"out_channels": sizes_of(checkpoint).latents[0], "sample_size": _sample_size(checkpoint), **folded}


def _decoder(checkpoint: Checkpoint, own: Mapping[str, Any]) -> dict[str, Any]:
    """Clients divide by the scaling factor, and count the levels of `block_out_channels` for the picture's size."""
    levels = own.get("decoder_block_out_channels", own.get("encoder_block_out_channels"))
    named = {"block_out_channels": levels} if levels and "block_out_channels" not in own else {}
    return {**named, "scaling_factor": latent_scale(checkpoint)}


def _sample_size(checkpoint: Checkpoint) -> int | list[int]:
    _, height, width = sizes_of(checkpoint).latents
    return height if height == width else [height, width]
