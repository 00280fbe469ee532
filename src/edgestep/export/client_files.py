"""A Checkpoint -> the small files that existing clients read beside the graphs: configs, tokenizer, scheduler.

With them optimum's ORTDiffusionPipeline opens an ONNX artifact, and openvino_genai.Text2ImagePipeline an OpenVINO one.
"""

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from edgestep.export.openvino.tokenizer import write_openvino_tokenizer
from edgestep.export.source.checkpoint import Checkpoint
from edgestep.export.source.tokenizer import tokenizer_json

TOKENIZER_FILES = ("vocab.json", "merges.txt", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")


def write_client_files(folder: Path, checkpoint: Checkpoint, format: str) -> None:
    """Write everything of the split form but the graphs."""
    configs = checkpoint.configs
    scheduler = SCHEDULERS[format](_noise(configs["scheduler"]))
    _write_json(folder / "model_index.json", _model_index(checkpoint, scheduler["_class_name"]))
    _write_json(folder / "unet" / "config.json", configs["unet"])
    _write_json(folder / "text_encoder" / "config.json", configs["text_encoder"])
    scale = {"scaling_factor": 0.18215, **configs["vae"]}
    _write_json(folder / "vae_decoder" / "config.json", scale)
    _write_json(folder / "scheduler" / "scheduler_config.json", scheduler)
    write_tokenizer(folder / "tokenizer", checkpoint)
    if format == "openvino":
        write_openvino_tokenizer(folder / "tokenizer")


def write_tokenizer(folder: Path, checkpoint: Checkpoint) -> None:
    """Copy the tokenizer, and write the tokenizer.json that the contract names by its hash."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in TOKENIZER_FILES:
        source = checkpoint.folder / "tokenizer" / name
        if source.is_file():
            shutil.copyfile(source, folder / name)
    (folder / "tokenizer.json").write_bytes(tokenizer_json(checkpoint.folder / "tokenizer"))


def _model_index(checkpoint: Checkpoint, scheduler: str) -> dict[str, Any]:
    return {
        "_class_name": checkpoint.pipeline_class,
        "_diffusers_version": "0.36.0",
        "feature_extractor": [None, None],
        "image_encoder": [None, None],
        "requires_safety_checker": False,
        "safety_checker": [None, None],
        "scheduler": ["diffusers", scheduler],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
        "vae_decoder": ["diffusers", "AutoencoderKL"],
    }


def _noise(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return what every scheduler says of the noise schedule."""
    return {
        key: config[key] for key in ("beta_start", "beta_end", "beta_schedule", "num_train_timesteps") if key in config
    }


def _lcm(noise: dict[str, Any]) -> dict[str, Any]:
    """Return an LCMScheduler whose single step hands on what the unet returned, which is x0 already."""
    return {
        "_class_name": "LCMScheduler",
        "_diffusers_version": "0.36.0",
        **noise,
        "clip_sample": False,
        "original_inference_steps": 50,
        "prediction_type": "sample",
        "set_alpha_to_one": True,
        "steps_offset": 1,
        "thresholding": False,
        "timestep_scaling": 10.0,
        "timestep_spacing": "leading",
        "trained_betas": None,
    }


def _ddim(noise: dict[str, Any]) -> dict[str, Any]:
    """Return the same as DDIM, for openvino_genai: its LCMScheduler crashes at prediction type "sample"."""
    return {
        "_class_name": "DDIMScheduler",
        "_diffusers_version": "0.36.0",
        **noise,
        "clip_sample": False,
        "prediction_type": "sample",
        "set_alpha_to_one": True,
        "steps_offset": 1,
        "thresholding": False,
        "timestep_spacing": "trailing",
        "trained_betas": None,
    }


SCHEDULERS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {"onnx": _lcm, "openvino": _ddim, "coreml": _lcm}
"""Format -> the scheduler that its clients read."""


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n")
