"""Diffusers folders -> ways to draw: CHECKPOINT in one step, the teacher in many."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from edgestep.artifact import BadInput
from edgestep.distill.diffusion import Schedule
from edgestep.distill.evaluation.ways import Way, one_step_way, steps_way, teacher_way
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


def teacher_ways(parts: Parts, guidance: float, steps: tuple[int, ...]) -> list[Way]:
    """Return the teacher at each number of steps; the first is what diversity is relative to."""
    return [teacher_way(parts.teacher, parts.vae, guidance, count) for count in steps]


def checkpoint_way(name: str, parts: Parts, times: Sequence[int] = ()) -> Way:
    """Return the generator of a folder, with the folder's own text encoder and VAE; in one step when no `times`."""
    teacher = parts.teacher
    if not times:
        return one_step_way(name, teacher, teacher.unet, parts.vae)
    return steps_way(name, teacher, teacher.unet, parts.vae, times)
