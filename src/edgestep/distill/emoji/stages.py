"""Every stage of the bundled generator, in order: pictures, autoencoder, judge, teacher, student, folder.

Each stage keeps its result in the work folder; a run that was killed goes on where it was.
"""

import copy
import json
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL

from edgestep.artifact import BadInput, check_writable
from edgestep.distill.checkpoint import save_checkpoint
from edgestep.distill.emoji.autoencoder import psnr_of, train_autoencoder
from edgestep.distill.emoji.captions import Captions, read_captions, read_texts
from edgestep.distill.emoji.card import card_from_table
from edgestep.distill.emoji.judging import Watch
from edgestep.distill.emoji.latents import encode_latents
from edgestep.distill.emoji.networks import one_step_scheduler
from edgestep.distill.emoji.pictures import build_pictures, fetch_packages, read_held_out_pictures
from edgestep.distill.emoji.prompts import prompts_from_concepts
from edgestep.distill.emoji.recipe import EmojiRecipe, recipe_from_json, recipe_json
from edgestep.distill.emoji.rows import write_rows
from edgestep.distill.emoji.teacher import train_teacher
from edgestep.distill.emoji.tokenizer import train_tokenizer
from edgestep.distill.evaluation.bars import Names, bars_of, bars_table
from edgestep.distill.evaluation.classifier import PictureClassifier
from edgestep.distill.evaluation.command import sized
from edgestep.distill.evaluation.evaluate import Evaluation, evaluate
from edgestep.distill.evaluation.folders import teacher_ways
from edgestep.distill.evaluation.judge_card import make_judge
from edgestep.distill.evaluation.sizes import Sizes
from edgestep.distill.evaluation.ways import one_step_way, teacher_name
from edgestep.distill.evaluation.wordings import wordings_of
from edgestep.distill.folders import Parts
from edgestep.distill.run import Look, Student, distill
from edgestep.distill.teacher import Teacher
from edgestep.distill.workers import Workers

RECIPE = "recipe.json"
STAGES = ("data", "autoencoder", "teacher", "student")
Tell = Callable[[str], None]


def distill_emoji(
    work: Path,
    *,
    out: Path | None = None,
    icons: Path | None = None,
    until: str = "student",
    recipe: EmojiRecipe | None = None,
    workers: Workers | None = None,
    tell: Tell = lambda _: None,
) -> None:
    """Run, or finish, the stages up to `until`; after "student", write the checkpoint folder `out`.

    `icons` holds the npm tarballs; without it they are fetched by npm into `work`/icons.
    """
    if until not in STAGES:
        raise BadInput(f"got stage {until!r}; expected one of {', '.join(STAGES)}; choose one of these")
    if out is not None:
        check_writable(out)
    recipe, workers = recipe or EmojiRecipe(), workers or Workers.of(log_folder=work)
    check_begun(work, recipe)
    wanted = STAGES[: STAGES.index(until) + 1]
    make_pictures(work, icons or work / "icons", recipe, workers, tell)
    if "autoencoder" not in wanted:
        return
    vae, latents = make_latents(work, recipe, workers, tell)
    if "teacher" not in wanted:
        return
    tokenizer = train_tokenizer(read_texts(work)[0], recipe)
    captions = read_captions(work, tokenizer, recipe)
    teacher = train_teacher(work, latents, captions, tokenizer, recipe, workers)
    if "student" not in wanted:
        return
    judge = make_judge(work, recipe, workers)
    few = Sizes(pictures=512, diversity_prompts=16)
    watch = Watch(work, work / "curves", teacher, vae, judge, few, recipe.student.conditioning_t)
    student = make_student(work, teacher, latents, captions, recipe, workers, watch)
    if out is not None and workers.is_main:
        evaluation = evaluate_emoji(work, Parts(teacher, vae), student, judge, recipe, tell)
        save_emoji(work, out, Parts(teacher, vae), student.unet, evaluation.table)


def check_begun(work: Path, recipe: EmojiRecipe) -> None:
    """Raise BadInput where the work folder was begun with another recipe, naming the fields that differ."""
    path = work / RECIPE
    if not path.exists():
        return
    begun, wanted = recipe_from_json(path), recipe
    differ = [each.name for each in fields(EmojiRecipe) if getattr(begun, each.name) != getattr(wanted, each.name)]
    if differ:
        raise BadInput(
            f"got {work}, begun with another recipe: {', '.join(differ)}; expected that of {path}; choose another "
            "folder, or remove it"
        )


def make_pictures(work: Path, icons: Path, recipe: EmojiRecipe, workers: Workers, tell: Tell) -> None:
    """Draw the pictures and write the recipe down, once, on the main process."""
    if workers.is_main and not (work / "captions.json").exists():
        fetch_packages(icons)
        tell(f"{build_pictures(icons, work, recipe)} pictures")
    if workers.is_main:
        (work / RECIPE).write_text(recipe_json(recipe))
    workers.wait()


def make_latents(work: Path, recipe: EmojiRecipe, workers: Workers, tell: Tell) -> tuple[AutoencoderKL, torch.Tensor]:
    """Return the autoencoder, its scale in its config, and every picture's latents [V, N, C, h, w] on the device."""
    vae = train_autoencoder(work, recipe, workers).to(workers.device).eval()
    latents, scale = encode_latents(work, vae, recipe, workers)
    vae.register_to_config(scaling_factor=scale)
    psnr = psnr_of(vae, read_held_out_pictures(work), recipe.picture_size)
    (work / "autoencoder.json").write_text(json.dumps({"held_out_psnr_db": psnr, "scaling_factor": scale}))
    tell(f"latents scaled by {scale:.4f}; held-out pictures come back at {psnr:.2f} dB")
    return vae, latents


def make_student(
    work: Path,
    teacher: Teacher,
    latents: torch.Tensor,
    captions: Captions,
    recipe: EmojiRecipe,
    workers: Workers,
    look: Look | None = None,
) -> Student:
    """Write the training rows, and distill the teacher with them."""
    data = write_rows(work / "rows", latents, captions, recipe, workers)
    return distill(work, teacher, data, recipe.student, workers, look)


def evaluate_emoji(
    work: Path, parts: Parts, student: Student, judge: PictureClassifier, recipe: EmojiRecipe, tell: Tell
) -> Evaluation:
    """Measure the teacher at 50, 25 and 1 steps and both students, into `work`/evaluation."""
    config, names = recipe.student, Names(teacher=teacher_name(recipe.teacher_nfe_steps))
    ways = teacher_ways(parts, config.guidance, (recipe.teacher_nfe_steps, recipe.teacher_nfe_steps // 2, 1))
    unets = {names.regression: student.regression, names.student: student.unet}
    for name, unet in unets.items():
        if unet is not None:
            ways.append(one_step_way(name, parts.teacher, unet, parts.vae, config.conditioning_t))
    sizes = sized(Sizes(), parts.teacher.device)
    wordings = wordings_of(work, judge.config.concepts)
    evaluation = evaluate(ways, names.teacher, work, wordings, judge, work / "evaluation", sizes, tell)
    tell(evaluation.table)
    if student.regression is not None:
        tell(bars_table(bars_of(evaluation.rows, names)))
    return evaluation


def save_emoji(work: Path, out: Path, parts: Parts, student: Any, table: str) -> None:
    """Write the one-step generator as a diffusers folder, with card and prompts; the modules stay as they are."""
    data = json.loads((work / "captions.json").read_text())
    text_encoder, vae, unet = (copy.deepcopy(m).cpu() for m in (parts.teacher.text_encoder, parts.vae, student))
    save_checkpoint(
        out,
        tokenizer=parts.teacher.tokenizer,
        text_encoder=text_encoder,
        unet=unet,
        vae=vae,
        scheduler=one_step_scheduler(),
        card=card_from_table(data, table, json.loads((work / "autoencoder.json").read_text())["held_out_psnr_db"]),
        prompts=prompts_from_concepts(data["concepts"], data["styles"]),
    )
