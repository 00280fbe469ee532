"""The bundled emoji generator's sizes and hyperparameters, in one place."""

from dataclasses import dataclass

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
    guidance: float = 2.5
    teacher_nfe_steps: int = 50

    autoencoder_steps: int = 2200
    autoencoder_batch: int = 32
    autoencoder_lr: float = 2e-3
    variants: int = 6
    teacher_steps: int = 4200
    teacher_batch: int = 64
    teacher_lr: float = 1e-3
    pairs: int = 2560
    pair_steps: int = 20
    regression_steps: int = 700
    matching_steps: int = 300
    student_batch: int = 48
    student_lr: float = 1e-4
    fake_lr: float = 2e-4
    fake_updates: int = 3
    regression_weight: float = 0.25
