"""`edgestep distill evaluate CHECKPOINT --teacher T`: the table of measures, from folders."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from edgestep.artifact import BadInput
from edgestep.distill.evaluation.classifier import bundled_classifier, load_classifier
from edgestep.distill.evaluation.clip_score import ClipScore
from edgestep.distill.evaluation.evaluate import evaluate
from edgestep.distill.evaluation.folders import checkpoint_way, teacher_ways
from edgestep.distill.evaluation.inception import InceptionFid
from edgestep.distill.evaluation.large import evaluate_large, large_table
from edgestep.distill.evaluation.real_pictures import captions_of, is_work_folder
from edgestep.distill.evaluation.sizes import Sizes
from edgestep.distill.evaluation.ways import Way
from edgestep.distill.evaluation.wordings import wordings_of
from edgestep.distill.folders import read_parts

CUDA_BATCH = 512


def evaluate_folders(
    checkpoint: Path,
    teacher: Path,
    data: Path,
    out: Path,
    *,
    others: Sequence[str] = (),
    judge: Path | None = None,
    guidance: float = 2.0,
    teacher_steps: Sequence[int] = (50, 25, 1),
    times: Sequence[int] = (),
    sizes: Sizes | None = None,
    clip_score: Path | None = None,
    inception_fid: Path | None = None,
    device: torch.device | str = "cpu",
    tell: Callable[[str], None] = lambda _: None,
) -> str:
    """Compare `checkpoint` in one step with `teacher` in many; write the files into `out`, return the tables.

    `times`: the students' timesteps when they were not trained for one step at T - 1 (399; or 999, 749, 499, 249).
    `others`: more students, "name=FOLDER". `data`: a work folder of the emoji recipe, measured in the features of
    `judge` (the bundled one when not given); or a folder of captioned pictures, for the two measures of large
    checkpoints: `clip_score`, a CLIP model's folder, and `inception_fid`, a file of Inception weights. Raises BadInput
    (exit status 2).
    """
    there = torch.device(device)
    sizes = sized(sizes or Sizes(), there)
    judged = is_work_folder(data)
    if not judged and clip_score is None and inception_fid is None:
        raise _no_measure(data)
    clip = None if clip_score is None else ClipScore(clip_score, there)
    inception = None if inception_fid is None else InceptionFid(inception_fid, there)
    classifier = load_classifier(judge or bundled_classifier(), there) if judged else None
    wordings = None if classifier is None else wordings_of(data, classifier.config.concepts)
    ways = ways_of(checkpoint, teacher, others, guidance, teacher_steps, times, there)
    tables = []
    if classifier is not None and wordings is not None:
        tables.append(evaluate(ways, ways[0].name, data, wordings, classifier, out, sizes, tell).table)
    if clip is not None or inception is not None:
        count, seed = sizes.pictures, sizes.seed + 1
        prompts = captions_of(data, count, seed) if wordings is None else wordings.training.pick(count, seed).texts
        tables.append(large_table(evaluate_large(ways, prompts, data, out, sizes, clip, inception)))
    return "\n\n".join(tables)


def ways_of(
    checkpoint: Path,
    teacher: Path,
    others: Sequence[str],
    guidance: float,
    teacher_steps: Sequence[int],
    times: Sequence[int],
    device: torch.device,
) -> list[Way]:
    """Return the teacher at each number of steps, the others, then the checkpoint."""
    if not teacher_steps or min(teacher_steps) < 1:
        raise BadInput(f"got teacher steps {list(teacher_steps)}; expected numbers of 1 or more; name at least one")
    steps = "1 step" if len(times) < 2 else f"{len(times)} steps"
    named = [*(_named(other) for other in others), ("student", checkpoint)]
    folders = [(f"{name}, {steps}", folder) for name, folder in named]
    students = [checkpoint_way(name, read_parts(folder, device), times) for name, folder in folders]
    return [*teacher_ways(read_parts(teacher, device), guidance, tuple(teacher_steps)), *students]


def sized(sizes: Sizes, device: torch.device) -> Sizes:
    """Return the sizes with a GPU's batch where there is one and none was asked for."""
    sizes.check()
    return replace(sizes, batch=CUDA_BATCH) if device.type == "cuda" and sizes.batch == Sizes.batch else sizes


def _named(other: str) -> tuple[str, Path]:
    name, equals, folder = other.partition("=")
    if not (name and equals and folder):
        raise BadInput(f"got {other!r}; expected NAME=FOLDER; write for example regression=runs/regression")
    return name, Path(folder)


def _no_measure(data: Path) -> BadInput:
    return BadInput(
        f"got {data} without pictures.safetensors and captions.json; expected a work folder of 'edgestep distill "
        "emoji', or --clip-score or --inception-fid, which take a folder of captioned pictures; give one of these"
    )
