"""A checkpoint's configs -> its OneStep contract, without torch."""

import hashlib
from collections.abc import Mapping
from typing import Any

from edgestep.artifact import BadInput, OneStep
from edgestep.export.recipe.schedule import step_from_scheduler
from edgestep.export.source.checkpoint import Checkpoint
from edgestep.export.source.tokenizer import special_token_ids, tokenizer_json

BASES = {768: "sd15", 1024: "sd21"}
"""Width of the text embeddings -> the family that has it."""


def contract_from_checkpoint(
    checkpoint: Checkpoint,
    *,
    timestep: float | None = None,
    prediction_type: str | None = None,
    alpha_bar: float | None = None,
) -> OneStep:
    """Return the contract; the keywords override the scheduler's config, for checkpoints published with another one.

    Raises BadInput where the scheduler has no linear single step, or the VAE shifts its latents.
    """
    unet, vae = checkpoint.configs["unet"], checkpoint.configs["vae"]
    for key in ("shift_factor", "latents_mean", "latents_std"):
        if vae.get(key) is not None:
            raise BadInput(f"got {key} in {checkpoint.folder / 'vae'}; expected none, as in Stable Diffusion 1.5")
    step = step_from_scheduler(
        checkpoint.scheduler_class,
        checkpoint.configs["scheduler"],
        timestep=timestep,
        prediction_type=prediction_type,
        alpha_bar=alpha_bar,
    )
    height, width = _pair(unet["sample_size"])
    factor = 2 ** (len(vae["block_out_channels"]) - 1)
    tokens = special_token_ids(checkpoint.folder / "tokenizer", checkpoint.configs["tokenizer"])
    return OneStep(
        family=_family(checkpoint),
        timestep=step.timestep,
        prediction_type=step.prediction_type,
        k_in=step.k_in,
        k_z=step.k_z,
        k_e=step.k_e,
        latent_scale=float(vae.get("scaling_factor", 0.18215)),
        latent_shift=0.0,
        latent_shape=(int(unet["in_channels"]), height, width),
        image_size=(height * factor, width * factor),
        prompt_tokens=_prompt_tokens(checkpoint.configs),
        bos_token_id=tokens.bos,
        eos_token_id=tokens.eos,
        pad_token_id=tokens.pad,
        tokenizer_sha256=hashlib.sha256(tokenizer_json(checkpoint.folder / "tokenizer")).hexdigest(),
    )


def _pair(size: Any) -> tuple[int, int]:
    return (int(size), int(size)) if isinstance(size, int | float) else (int(size[0]), int(size[1]))


def _prompt_tokens(configs: Mapping[str, Mapping[str, Any]]) -> int:
    """Return how many tokens the pipeline pads to: the tokenizer's, at most what the text encoder has positions for."""
    positions = int(configs["text_encoder"].get("max_position_embeddings", 77))
    return min(positions, int(configs["tokenizer"].get("model_max_length", positions)))


def _family(checkpoint: Checkpoint) -> str:
    """Return the model card's `family`, else base and scheduler: `sd15-lcm`, `sd21-euler`, `sd-like-tcd`."""
    if "family" in checkpoint.card:
        return checkpoint.card["family"]
    width = checkpoint.configs["text_encoder"].get("hidden_size", 0)
    base = BASES.get(width, "sd-like")
    scheduler = checkpoint.scheduler_class.removesuffix("Scheduler").removesuffix("Discrete")
    return f"{base}-{scheduler.lower()}"
