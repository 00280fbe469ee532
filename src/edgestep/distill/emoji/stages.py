"""Every stage of the bundled generator, in order: pictures, tokenizer, autoencoder, teacher, pairs, student, folder.

Each stage keeps its result in the work folder; a run that was killed goes on where it was.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from edgestep.artifact import BadInput, check_writable
from edgestep.distill.autoencoder import train_autoencoder
from edgestep.distill.captions import Captions, read_captions, read_texts
from edgestep.distill.card import card_from_measures
from edgestep.distill.checkpoint import save_checkpoint
from edgestep.distill.latents import encode_latents
from edgestep.distill.measure import measure_generators
from edgestep.distill.networks import one_step_scheduler
from edgestep.distill.pairs import draw_pairs
from edgestep.distill.pictures import build_pictures, fetch_packages
from edgestep.distill.prompts import prompts_from_concepts
from edgestep.distill.recipe import EmojiRecipe
from edgestep.distill.student import Pairs, train_matching, train_regression
from edgestep.distill.teacher import Teacher, train_teacher
from edgestep.distill.tokenizer import train_tokenizer

STAGES = ("data", "autoencoder", "teacher", "student")


def distill_emoji(
    work: Path,
    *,
    out: Path | None = None,
    icons: Path | None = None,
    until: str = "student",
    recipe: EmojiRecipe | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> None:
    """Run, or finish, the stages up to `until`; after "student", write the checkpoint folder `out`.

    `icons` holds the npm tarballs; without it they are fetched by npm into `work`/icons.
    """
    if until not in STAGES:
        raise BadInput(f"got stage {until!r}; expected one of {', '.join(STAGES)}; choose one of these")
    if out is not None:
        check_writable(out)
    recipe = recipe or EmojiRecipe()
    wanted = STAGES[: STAGES.index(until) + 1]
    if not (work / "captions.json").exists():
        fetch_packages(icons or work / "icons")
        tell(f"{build_pictures(icons or work / 'icons', work, recipe)} pictures")
    if "autoencoder" not in wanted:
        return
    vae = train_autoencoder(work, recipe)
    latents, scale = encode_latents(work, vae, recipe)
    vae.register_to_config(scaling_factor=scale)
    tell(f"latents scaled by {scale:.4f}")
    if "teacher" not in wanted:
        return
    tokenizer = train_tokenizer(read_texts(work)[0], recipe)
    captions = read_captions(work, tokenizer, recipe)
    teacher = train_teacher(work, latents, captions, tokenizer, recipe)
    if "student" not in wanted:
        return
    regression, student = _distill(work, teacher, captions, recipe)
    if out is not None:
        networks = {"teacher": teacher.unet, "regression": regression, "student": student}
        measures = measure_generators(work, vae, teacher, networks, captions, recipe, tell)
        (work / "measures.json").write_text(json.dumps(measures, indent=1))
        _save(work, out, tokenizer, teacher, student, vae, measures)


def _distill(work: Path, teacher: Teacher, captions: Captions, recipe: EmojiRecipe):
    pairs = Pairs(**draw_pairs(work, teacher, captions, recipe))
    regression = train_regression(work, teacher, pairs, recipe).requires_grad_(False)
    return regression, train_matching(work, teacher, regression, pairs, captions, recipe).requires_grad_(False)


def _save(work: Path, out: Path, tokenizer, teacher: Teacher, student, vae, measures: dict[str, Any]) -> None:
    data = json.loads((work / "captions.json").read_text())
    save_checkpoint(
        out,
        tokenizer=tokenizer,
        text_encoder=teacher.text_encoder,
        unet=student,
        vae=vae,
        scheduler=one_step_scheduler(),
        card=card_from_measures(data, measures),
        prompts=prompts_from_concepts(data["concepts"], data["styles"]),
    )


def load_average(work: Path, stage: str, module: torch.nn.Module) -> int:
    """Load the averaged weights of a stage's last saved state into `module`; return the step that it was saved at."""
    state = torch.load(work / f"{stage}.state.pt", weights_only=True, map_location="cpu")
    prefix = "module."
    average = {k[len(prefix) :]: v for k, v in state["parts"]["average"].items() if k.startswith(prefix)}
    module.load_state_dict(average)
    return state["done"]
