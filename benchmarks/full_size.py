"""Published sizes -> a diffusers folder with random float16 weights, written one tensor at a time.

    python benchmarks/full_size.py sd15 /tmp/sd15

The configs are the published ones, the weights are noise: enough to show what exporting takes and how fast a graph
runs, nothing of what it draws. The tokenizer is the bundled generator's: ids below 1,600 are ids of CLIP's too.
"""

import argparse
import json
import math
import shutil
import struct
from pathlib import Path
from typing import Any

import numpy as np

from edgestep.artifact import written_aside
from edgestep.export.graph.skeleton import shapes_of, skeleton_from_config
from edgestep.export.source.checkpoint import checkpoint_folder

BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "num_train_timesteps": 1000}
CLIP_L = {
    "architectures": ["CLIPTextModel"],
    "hidden_act": "quick_gelu",
    "hidden_size": 768,
    "intermediate_size": 3072,
    "max_position_embeddings": 77,
    "model_type": "clip_text_model",
    "num_attention_heads": 12,
    "num_hidden_layers": 12,
    "projection_dim": 768,
    "vocab_size": 49408,
}
CLIP_BIG_G = {
    **CLIP_L,
    "architectures": ["CLIPTextModelWithProjection"],
    "hidden_act": "gelu",
    "hidden_size": 1280,
    "intermediate_size": 5120,
    "num_attention_heads": 20,
    "num_hidden_layers": 32,
    "projection_dim": 1280,
}
VAE = {
    "_class_name": "AutoencoderKL",
    "block_out_channels": [128, 256, 512, 512],
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "latent_channels": 4,
    "layers_per_block": 2,
    "sample_size": 512,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
}
SD15_UNET = {
    "_class_name": "UNet2DConditionModel",
    "attention_head_dim": 8,
    "block_out_channels": [320, 640, 1280, 1280],
    "cross_attention_dim": 768,
    "down_block_types": ["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"],
    "layers_per_block": 2,
    "sample_size": 64,
    "up_block_types": ["UpBlock2D"] + ["CrossAttnUpBlock2D"] * 3,
}
SDXL_UNET = {
    "_class_name": "UNet2DConditionModel",
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "attention_head_dim": [5, 10, 20],
    "block_out_channels": [320, 640, 1280],
    "cross_attention_dim": 2048,
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
    "layers_per_block": 2,
    "projection_class_embeddings_input_dim": 2816,
    "sample_size": 128,
    "transformer_layers_per_block": [1, 2, 10],
    "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
    "use_linear_projection": True,
}
LCM = {"_class_name": "LCMScheduler", **BETAS, "clip_sample": False, "prediction_type": "epsilon", "steps_offset": 1}

PIPELINES: dict[str, tuple[str, dict[str, tuple[str, dict[str, Any]]]]] = {
    "sd15": (
        "StableDiffusionPipeline",
        {
            "text_encoder": ("CLIPTextModel", CLIP_L),
            "unet": ("UNet2DConditionModel", SD15_UNET),
            "vae": ("AutoencoderKL", VAE),
        },
    ),
    "sdxl": (
        "StableDiffusionXLPipeline",
        {
            "text_encoder": ("CLIPTextModel", CLIP_L),
            "text_encoder_2": ("CLIPTextModelWithProjection", CLIP_BIG_G),
            "unet": ("UNet2DConditionModel", SDXL_UNET),
            "vae": ("AutoencoderKL", {**VAE, "force_upcast": True, "sample_size": 1024, "scaling_factor": 0.13025}),
        },
    ),
}
"""Name -> pipeline class, and component -> class and config."""


def write_full_size(name: str, folder: Path) -> Path:
    """Write the folder of `name`, a key of PIPELINES; what lies there already is kept."""
    if folder.is_dir():
        return folder
    pipeline, components = PIPELINES[name]
    index: dict[str, Any] = {"_class_name": pipeline, "_diffusers_version": "0.36.0"}
    with written_aside(folder) as aside:
        for component, (kind, config) in components.items():
            library = "transformers" if component.startswith("text_encoder") else "diffusers"
            index[component] = [library, kind]
            _write_component(aside / component, kind, config, "model" if library == "transformers" else "")
        for tokenizer in ("tokenizer", "tokenizer_2")[: 2 if name == "sdxl" else 1]:
            index[tokenizer] = ["transformers", "CLIPTokenizer"]
            shutil.copytree(checkpoint_folder("emoji") / "tokenizer", aside / tokenizer)
            _take_tokens(aside / tokenizer / "tokenizer_config.json", CLIP_L["max_position_embeddings"])
        index["scheduler"] = ["diffusers", "LCMScheduler"]
        if name == "sd15":
            index |= {"safety_checker": [None, None], "feature_extractor": [None, None], "image_encoder": [None, None]}
        _write_json(aside / "scheduler" / "scheduler_config.json", LCM)
        _write_json(aside / "model_index.json", index)
    return folder


def _write_component(folder: Path, kind: str, config: dict[str, Any], stem: str) -> None:
    _write_json(folder / "config.json", config)
    shapes = shapes_of(skeleton_from_config(kind, config))
    _write_random(folder / f"{stem or 'diffusion_pytorch_model'}.safetensors", shapes)


def _write_random(path: Path, shapes: dict[str, tuple[int, ...]]) -> None:
    """Write float16 weights that keep activations near 1: normal / sqrt(fan in), norms of weight 1, biases near 0."""
    header, offset = {}, 0
    for name, shape in shapes.items():
        size = 2 * math.prod(shape)
        header[name] = {"dtype": "F16", "shape": shape, "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    random = np.random.default_rng(0)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for name, shape in shapes.items():
            _random_weight(random, name, shape).astype(np.float16).tofile(file)


def _random_weight(random: np.random.Generator, name: str, shape: tuple[int, ...]) -> np.ndarray:
    if len(shape) > 1:
        return random.standard_normal(shape, np.float32) / np.float32(math.sqrt(math.prod(shape[1:])))
    return np.ones(shape, np.float32) if name.endswith("weight") else 0.01 * random.standard_normal(shape, np.float32)


def _take_tokens(file: Path, count: int) -> None:
    """Let a tokenizer pad to as many tokens as the published one does."""
    _write_json(file, {**json.loads(file.read_text()), "model_max_length": count})


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("name", choices=PIPELINES)
    parser.add_argument("folder", type=Path)
    given = parser.parse_args()
    print(write_full_size(given.name, given.folder))
