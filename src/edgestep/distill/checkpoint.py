"""Trained parts -> a diffusers folder shaped exactly like Stable Diffusion 1.5: fp16 safetensors, no pickle."""

import json
from collections.abc import Sequence
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
    prompts: Sequence[str] = (),
) -> None:
    """Write the folder aside, then move it into place.

    `card` is the README.md, `prompts` the lines of prompts.txt, which references and calibration draw from.
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
        for part in ("unet", "vae", "text_encoder"):
            _forget_origin(folder / part / "config.json")
        (folder / "README.md").write_text(card)
        if prompts:
            (folder / "prompts.txt").write_text("\n".join(prompts) + "\n")


def _name_tokenizer(index: Path) -> None:
    """Say `CLIPTokenizer`, as Stable Diffusion does, not the fast class that wrote the same files."""
    content = json.loads(index.read_text())
    content["tokenizer"] = ["transformers", "CLIPTokenizer"]
    index.write_text(json.dumps(content, indent=2) + "\n")


def _forget_origin(config: Path) -> None:
    """Leave out the folder that the part was once loaded from: a path of the machine that trained it."""
    content = json.loads(config.read_text())
    if content.pop("_name_or_path", None) is not None:
        config.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n")
