"""`edgestep distill decoder`: a checkpoint -> a folder for `edgestep export --decoder`."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from edgestep.artifact import BadInput, check_writable
from edgestep.distill.data.latent_data import LatentData
from edgestep.distill.decoder.begun import check_begun
from edgestep.distill.decoder.card import card_from_measures
from edgestep.distill.decoder.measure import DecoderMeasures, Judged, judged_by, measure_decoder
from edgestep.distill.decoder.recipe import DecoderRecipe
from edgestep.distill.decoder.save import as_stored, save_decoder
from edgestep.distill.decoder.source import OneStepSource, read_source
from edgestep.distill.decoder.train import train_decoder
from edgestep.distill.workers import Workers


def distill_decoder(
    checkpoint: Path,
    out: Path,
    *,
    data: Path | None = None,
    prompts: Path | None = None,
    judge: Path | None = None,
    work: Path | None = None,
    conditioning_t: int = 999,
    recipe: DecoderRecipe | None = None,
    workers: Workers | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> DecoderMeasures | None:
    """Train, or finish training, the tiny decoder of a diffusers folder, write it to `out`, return its measures.

    `data`: a folder of precomputed latents to train on as well. `prompts`: a file of prompts, one a line, instead of
    the checkpoint's prompts.txt. `judge`: the folder of a classifier, for the Fréchet distance; the bundled one where
    None, if the pictures are of its size. `work` keeps the state of a run that is stopped (`out`.work where None); one
    begun for another checkpoint or recipe is refused. Only the first process writes, and returns measures.
    """
    check_writable(out)
    recipe, workers = recipe or DecoderRecipe(), workers or Workers.of()
    _check_recipe(recipe)
    source = read_source(checkpoint, _lines(prompts), conditioning_t)
    rows = _opened(data)
    work = work or out.with_name(f"{out.name}.work")
    check_begun(work, checkpoint, recipe, data, workers)
    tell(f"training a tiny decoder for {checkpoint.name} on {workers.device}, {recipe.steps} steps")
    tiny = train_decoder(work, source, recipe, workers, rows)
    measures = (
        finish_decoder(out, checkpoint, tiny, source, recipe, judge, rows is not None) if workers.is_main else None
    )
    workers.wait()
    if measures is not None:
        tell(line_of(measures))
    return measures


def finish_decoder(
    out: Path,
    checkpoint: Path,
    tiny,
    source: OneStepSource,
    recipe: DecoderRecipe,
    judge: Path | None = None,
    with_data: bool = False,
) -> DecoderMeasures:
    """Measure the decoder as it will be stored, write its folder, return the measures."""
    stored = as_stored(tiny)
    measures = measure_decoder(stored, source, recipe, _judged(judge, source))
    channels = int(tiny.config["decoder_block_out_channels"][0])
    name, licence = checkpoint.resolve().name, licence_of(checkpoint)
    save_decoder(out, tiny, card_from_measures(name, licence, measures, recipe, channels, with_data), measures, recipe)
    return measures


def line_of(measures: DecoderMeasures) -> str:
    """Return one line for people."""
    frechet = "" if measures.frechet is None else f", Fréchet distance {measures.frechet:.4g}"
    return (
        f"an approximation of the VAE decoder: {measures.psnr_db:.2f} dB, SSIM {measures.ssim:.4f}{frechet}, "
        f"{100 * measures.flops_ratio:.1f} % of its operations"
    )


def licence_of(checkpoint: Path) -> str:
    """Return the licence that the checkpoint's card states in its front matter, or "unknown"."""
    path = checkpoint / "README.md"
    text = path.read_text(errors="replace") if path.is_file() else ""
    front = re.match(r"---\n(.*?)\n---", text, re.DOTALL)
    said = re.search(r"^license:\s*(\S+)\s*$", front[1], re.MULTILINE) if front else None
    return said[1] if said else "unknown"


def blocks_from_text(text: str) -> tuple[int, ...]:
    """Return the residual blocks on each level of "6,4,1,0"; BadInput where it is no such list."""
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise BadInput(f"got --blocks {text}; expected whole numbers with commas between: 3,3,3,1") from error


def _check_recipe(recipe: DecoderRecipe) -> None:
    for name in ("steps", "batch", "ahead", "measured"):
        if getattr(recipe, name) < 1:
            raise BadInput(f"got --{name} {getattr(recipe, name)}; expected 1 or more")
    if recipe.channels < 0:
        raise BadInput(f"got --channels {recipe.channels}; expected a width, or 0 for the widest that --flops allows")
    if not 0 < recipe.lr < 1:
        raise BadInput(f"got --lr {recipe.lr:g}; expected a small positive number, such as 0.004")
    if not recipe.flops > 0:
        raise BadInput(f"got --flops {recipe.flops:g}; expected a share of the VAE decoder's, such as 0.25")


def _lines(prompts: Path | None) -> Sequence[str]:
    if prompts is None:
        return ()
    try:
        lines = [line.strip() for line in prompts.read_text().splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"got {prompts}, which cannot be read; expected a text file, one prompt a line") from error
    if not lines:
        raise BadInput(f"got {prompts}, which holds no prompts; expected one a line")
    return lines


def _opened(data: Path | None) -> LatentData | None:
    if data is None:
        return None
    from edgestep.distill.data.open_data import open_data

    # only the latents are read: texts need no ids
    return open_data(data, tokenize=lambda texts: torch.zeros(len(texts), 1, dtype=torch.int64))


def _judged(judge: Path | None, source: OneStepSource) -> Judged | None:
    """Return the Fréchet distance in a classifier's features; None where there is none for pictures of this size."""
    from edgestep.distill.evaluation.classifier import bundled_classifier, load_classifier
    from edgestep.distill.evaluation.frechet import frechet_distance

    folder = judge or bundled_classifier()
    if judge is None and not (folder / "config.json").is_file():
        return None
    classifier = load_classifier(folder, source.device)
    if judge is None and classifier.config.picture_size**2 != source.pixels:
        return None
    return judged_by(classifier, frechet_distance)
