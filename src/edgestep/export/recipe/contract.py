"""A Checkpoint -> its OneStep contract, without torch."""

import hashlib
from dataclasses import replace
from typing import Any

from edgestep.artifact import BadInput, OneStep, Tokens
from edgestep.export.recipe.detect import family_of
from edgestep.export.recipe.families import FAMILIES
from edgestep.export.recipe.loop import loop_from_family
from edgestep.export.recipe.sizes import latent_scale, sizes_of
from edgestep.export.source.checkpoint import Checkpoint
from edgestep.export.source.tokenizer import SpecialTokens, special_token_ids, token_count, tokenizer_json

PIXART_TOKENS = 120
"""PixArtAlphaPipeline's max_sequence_length, what PixArt-alpha was trained with (2310.00426)."""
SANA_TOKENS = 300
"""SanaSprintPipeline's max_sequence_length: the states of a prompt that its network reads."""


def contract_from_checkpoint(
    checkpoint: Checkpoint,
    *,
    timestep: float | None = None,
    prediction_type: str | None = None,
    alpha_bar: float | None = None,
) -> OneStep:
    """Return the contract: the family's recipe, with what the source says over it; keywords that are given, over both.

    Raises BadInput where nothing tells the family and the scheduler has no single step, the steps are not offered, the
    options contradict each other, the VAE shifts its latents, or the size does not fit.
    """
    said = {"timestep": timestep, "prediction_type": prediction_type, "alpha_bar": alpha_bar}
    source = replace(checkpoint.source, **{key: value for key, value in said.items() if value is not None})
    checkpoint = replace(checkpoint, source=source)
    detected = family_of(checkpoint)
    loop = loop_from_family(detected, checkpoint)
    sizes = sizes_of(checkpoint)
    prefix = _prefix(checkpoint)
    first, *others = (_tokens(checkpoint, folder, prefix) for folder in checkpoint.tokenizers)
    return OneStep(
        family=detected.name,
        timestep=loop.first.timestep,
        prediction_type=loop.first.prediction_type,
        k_in=loop.first.k_in,
        k_z=loop.first.k_z,
        k_e=loop.first.k_e,
        latent_scale=latent_scale(checkpoint),
        latent_shift=0.0,
        latent_shape=sizes.latents,
        image_size=sizes.image,
        prompt_tokens=first.prompt_tokens,
        bos_token_id=first.bos_token_id,
        eos_token_id=first.eos_token_id,
        pad_token_id=first.pad_token_id,
        tokenizer_sha256=first.tokenizer_sha256,
        base=checkpoint.base,
        more_tokenizers=tuple(others),
        guidance_embedding=_guidance_embedding(checkpoint, detected.row.guidance_embedding),
        prompt_prefix=prefix,
        decoder="tiny" if checkpoint.classes["vae"] == "AutoencoderTiny" else "vae",
        next_steps=loop.later,
    )


def _guidance_embedding(checkpoint: Checkpoint, default: float | None) -> float | None:
    """Return the scale that the network is told, None where it has no such input."""
    given, config = checkpoint.source.guidance_embedding, checkpoint.configs[checkpoint.denoiser]
    if config.get("time_cond_proj_dim") is not None or config.get("guidance_embeds"):
        row = FAMILIES["sana-sprint" if checkpoint.base == "sana" else "lcm"]
        return next(scale for scale in (given, default, row.guidance_embedding) if scale is not None)
    if given is not None:
        raise BadInput(
            f"got a guidance embedding of {given:g} for a network without time_cond_proj_dim; expected none: its "
            "guidance is distilled in; leave it out"
        )
    return None


def _prefix(checkpoint: Checkpoint) -> str:
    if checkpoint.base != "sana":
        return ""
    from edgestep.export.recipe.sana_instruction import SANA_INSTRUCTION

    return SANA_INSTRUCTION


def _tokens(checkpoint: Checkpoint, folder: str, prefix: str) -> Tokens:
    """Return one tokenizer's part of the contract; T5 has no token that opens a prompt, its bos is -1."""
    path, config = checkpoint.folder / folder, checkpoint.configs[folder]
    special = special_token_ids(path, config)
    return Tokens(
        folder=folder,
        input="input_ids" if folder == "tokenizer" else "input_ids_2",
        prompt_tokens=_prompt_tokens(checkpoint, folder, prefix),
        bos_token_id=special.bos,
        eos_token_id=special.eos,
        pad_token_id=_pad(checkpoint, special),
        tokenizer_sha256=hashlib.sha256(tokenizer_json(path)).hexdigest(),
    )


def _pad(checkpoint: Checkpoint, special: SpecialTokens) -> int:
    if special.pad < 0:
        raise BadInput(
            f"got a tokenizer without a pad token in {checkpoint.folder}; expected one, to fill prompts up; download "
            "the checkpoint again"
        )
    return special.pad


def _prompt_tokens(checkpoint: Checkpoint, folder: str, prefix: str) -> int:
    """Return how many tokens the pipeline pads to.

    CLIP: the tokenizer's, at most what the text encoder has positions for. Sana's instruction goes before every prompt,
    less the two tokens that SanaSprintPipeline takes off.
    """
    if checkpoint.base == "pixart":
        return PIXART_TOKENS
    if checkpoint.base == "sana":
        return token_count(checkpoint.folder / folder, prefix) + SANA_TOKENS - 2
    encoder = checkpoint.configs[folder.replace("tokenizer", "text_encoder")]
    positions = int(encoder.get("max_position_embeddings", 77))
    longest: Any = checkpoint.configs[folder].get("model_max_length", positions)
    return min(positions, int(longest))
