"""Trained parts -> a diffusers folder shaped exactly like Stable Diffusion 1.5: fp16 safetensors, no pickle."""

import json
from pathlib import Path

import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextModel

from edgestep.artifact import written_aside


def save_checkpoint(
    final: Path,
    *,
    tokenizer,
    text_encoder: CLIPTextModel,
    unet: UNet2DConditionModel,
    vae: AutoencoderKL,
    scheduler,
    card: str,
    teacher: UNet2DConditionModel | None = None,
) -> None:
    """Write the folder aside, then move it into place.

    `card` is the README.md. With `teacher`, its UNet is kept beside the pipeline in `teacher/unet`, for measures.
    """
    pipeline = StableDiffusionPipeline(
        tokenizer=tokenizer,
        text_encoder=text_encoder.to(torch.float16),
        unet=unet.to(torch.float16),
        vae=vae.to(torch.float16),
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    with written_aside(final) as folder:
        pipeline.save_pretrained(folder, safe_serialization=True)
        _name_tokenizer(folder / "model_index.json")
        if teacher is not None:
            teacher.to(torch.float16).save_pretrained(folder / "teacher" / "unet", safe_serialization=True)
        (folder / "README.md").write_text(card)


def _name_tokenizer(index: Path) -> None:
    """Say `CLIPTokenizer`, as Stable Diffusion does, not the fast class that wrote the same files."""
    content = json.loads(index.read_text())
    content["tokenizer"] = ["transformers", "CLIPTokenizer"]
    index.write_text(json.dumps(content, indent=2) + "\n")
