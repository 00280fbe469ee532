"""A diffusers folder shaped like Stable Diffusion -> its networks: what is distilled, and what is measured."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from edgestep.artifact import BadInput
from edgestep.distill.diffusion import Schedule
from edgestep.distill.teacher import Teacher


@dataclass(frozen=True)
class Parts:
    """What a folder shaped like Stable Diffusion holds, float32, frozen, on a device."""

    teacher: Teacher
    vae: Any


def read_parts(folder: Path, device: torch.device) -> Parts:
    """Load tokenizer, text encoder, UNet, VAE and scheduler; the scheduler as DDIM with trailing steps.

    Raises BadInput where the folder is no such checkpoint, or its scheduler's prediction type is not supported.
    """
    from diffusers import DDIMScheduler, StableDiffusionPipeline
    from transformers import CLIPTokenizerFast

    if not (folder / "model_index.json").is_file():
        raise BadInput(
            f"got {folder} without model_index.json; expected a diffusers folder shaped like Stable Diffusion; "
            "name the folder that save_pretrained wrote"
        )
    try:
        pipeline = StableDiffusionPipeline.from_pretrained(
            folder, torch_dtype=torch.float32, safety_checker=None, local_files_only=True, use_safetensors=True
        )
        # the fast class writes tokenizer.json too, which runtimes without transformers read
        tokenizer = CLIPTokenizerFast.from_pretrained(folder / "tokenizer", local_files_only=True)
    except (OSError, ValueError, TypeError, AttributeError, RuntimeError, KeyError) as error:
        what = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise BadInput(
            f"got {folder}, which does not load ({what}); expected tokenizer, text_encoder, unet, vae and scheduler "
            "of Stable Diffusion, weights in safetensors; save it again"
        ) from error
    scheduler = DDIMScheduler.from_config(pipeline.scheduler.config, timestep_spacing="trailing", clip_sample=False)
    Schedule(scheduler)  # refuses prediction types that there is no formula for
    teacher = Teacher(pipeline.unet, pipeline.text_encoder, tokenizer, scheduler).to(device)
    return Parts(teacher, pipeline.vae.to(device).requires_grad_(False).eval())


def decoded(vae: Any, x0: torch.Tensor) -> torch.Tensor:
    """Return the VAE's pictures float32 [B, 3, H, W], in about [-1, 1], of x0; with a gradient where `x0` has one."""
    return vae.decode(x0 / vae.config.scaling_factor + (vae.config.shift_factor or 0.0)).sample.float()
