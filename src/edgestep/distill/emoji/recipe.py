"""The bundled emoji generator's sizes and hyperparameters, in one place."""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgestep.artifact import BadInput
from edgestep.distill.config import Config

PACKAGES = {
    "noto": "@iconify-json/noto",
    "classic": "@iconify-json/noto-v1",
    "fluent": "@iconify-json/fluent-emoji-flat",
    "twemoji": "@iconify-json/twemoji",
}
"""Style word in a caption -> npm package that holds the artwork in that style."""


@dataclass(frozen=True)
class EmojiRecipe:
    """Every number that training needs; a run is reproducible from this and the seed.

    The teacher predicts v, so the one-step formula at t = 999 amplifies an error of the network by
    1.0 instead of the 14.6 of an epsilon-predicting one: INT8 survives.
    """

    seed: int = 0
    picture_size: int = 64
    canvas_size: int = 96
    prompt_tokens: int = 32
    vocabulary: int = 1600
    text_width: int = 128
    text_layers: int = 3
    latent_channels: int = 16
    latent_size: int = 8
    autoencoder_channels: tuple[int, ...] = (16, 32, 64, 96)
    unet_channels: tuple[int, ...] = (64, 128, 192)
    attention_heads: int = 4
    null_text: float = 0.1
    unstyled_text: float = 0.25
    teacher_nfe_steps: int = 50

    autoencoder_steps: int = 4000
    autoencoder_batch: int = 128
    autoencoder_lr: float = 2e-3
    judge_steps: int = 3000
    judge_batch: int = 256
    judge_lr: float = 2e-3
    variants: int = 24
    teacher_steps: int = 16000
    teacher_batch: int = 512
    teacher_lr: float = 1e-3
    teacher_average: float = 0.999
    student: Config = field(
        default_factory=lambda: Config(
            guidance=2.0, batch=256, pairs=20480, regression_steps=2000, matching_steps=1000, average=0.995
        )
    )


def recipe_from_json(path: Path) -> EmojiRecipe:
    """Read a recipe: the fields of `EmojiRecipe` that differ from its defaults, `student` likewise."""
    try:
        values = json.loads(path.read_text())
        student = dataclasses.replace(EmojiRecipe().student, **_with_tuples(values.pop("student", {})))
        return EmojiRecipe(**_with_tuples(values), student=student)
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise BadInput(f"got {path}, no recipe ({error}); expected the fields of EmojiRecipe; correct it") from error


def _with_tuples(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}


def recipe_json(recipe: EmojiRecipe) -> str:
    """Return every field as JSON."""
    return json.dumps(dataclasses.asdict(recipe), indent=1) + "\n"
