"""Toy data, a toy judge and toy generators that the evaluation's tests share."""

import json
from pathlib import Path

import numpy as np
import torch
from diffusers import DDIMScheduler
from safetensors.numpy import save_file

from edgestep.distill.checkpoint import save_checkpoint
from edgestep.distill.emoji.autoencoder import new_autoencoder
from edgestep.distill.emoji.networks import new_text_encoder, new_unet, one_step_scheduler, teacher_scheduler
from edgestep.distill.emoji.recipe import EmojiRecipe
from edgestep.distill.emoji.tokenizer import train_tokenizer
from edgestep.distill.evaluation.classifier import ClassifierConfig, PictureClassifier
from edgestep.distill.teacher import Teacher

CONCEPTS = ("red heart", "blue square", "green leaf", "grey rock", "pink pig", "black cat")
COLOURS = ((220, 30, 30), (30, 30, 220), (30, 200, 30), (128, 128, 128), (240, 130, 200), (10, 10, 10))
STYLES = ("noto", "classic", "fluent", "twemoji")

TINY = EmojiRecipe(
    picture_size=32,
    canvas_size=48,
    latent_size=4,
    autoencoder_channels=(8, 8, 16, 16),
    unet_channels=(16, 32, 32),
    text_width=32,
    text_layers=1,
    attention_heads=2,
    vocabulary=560,
    judge_steps=60,
    judge_batch=16,
    judge_lr=5e-3,
)


def write_data(work: Path) -> Path:
    """A colour per concept, in four styles: a disc that is larger from style to style."""
    work.mkdir(parents=True)
    y, x = np.mgrid[:48, :48] - 23.5
    rows, pictures = [], []
    for concept, colour in zip(CONCEPTS, COLOURS, strict=True):
        for i, style in enumerate(STYLES):
            disc = np.hypot(x, y) < 12 + 3 * i
            pictures.append(np.where(disc, np.array(colour)[:, None, None], 255).astype(np.uint8))
            rows.append([concept, style])
    save_file({"pictures": np.stack(pictures)}, work / "pictures.safetensors")
    about = {style: {"version": "1", "licence": "MIT"} for style in STYLES}
    card = {"concepts": CONCEPTS, "styles": STYLES, "packages": about, "rows": rows}
    (work / "captions.json").write_text(json.dumps(card))
    return work


def new_judge(seed: int = 0) -> PictureClassifier:
    torch.manual_seed(seed)
    return PictureClassifier(ClassifierConfig(CONCEPTS, (8, 16), 6, 32)).requires_grad_(False).eval()


def new_parts(seed: int = 0, prediction: str = "v_prediction"):
    """Return (teacher, vae): random networks, one seed one set."""
    torch.manual_seed(seed)
    tokenizer = train_tokenizer(list(CONCEPTS), TINY)
    scheduler = DDIMScheduler.from_config(teacher_scheduler().config, prediction_type=prediction)
    teacher = Teacher(new_unet(TINY), new_text_encoder(TINY, tokenizer), tokenizer, scheduler)
    return teacher.to(torch.device("cpu")), new_autoencoder(TINY).requires_grad_(False).eval()


def save_folder(folder: Path, teacher: Teacher, vae, one_step: bool) -> Path:
    save_checkpoint(
        folder,
        tokenizer=teacher.tokenizer,
        text_encoder=teacher.text_encoder,
        unet=teacher.unet,
        vae=vae,
        scheduler=one_step_scheduler() if one_step else teacher.scheduler,
        card="toy",
    )
    return folder
