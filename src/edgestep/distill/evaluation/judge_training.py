"""Pictures of known concepts -> the judge. Every step draws other poses and other small faults."""

import json
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch.nn import functional as F

from edgestep.distill.average import Average
from edgestep.distill.diffusion import batches
from edgestep.distill.emoji.augment import augment, draw_poses
from edgestep.distill.emoji.recipe import EmojiRecipe
from edgestep.distill.evaluation.classifier import ClassifierConfig, PictureClassifier
from edgestep.distill.evaluation.soften import soften
from edgestep.distill.loop import Losses, Training, cosine_lr, run
from edgestep.distill.workers import Workers, adamw

SEED = 8
"""The training's seed is the recipe's plus this."""

UNSEEN_POSES = 990_000_001
"""Seed of the poses that accuracy is measured on: no step of any training draws from it."""

LABEL_SMOOTHING = 0.05


def read_labelled(work: Path) -> tuple[torch.Tensor, torch.Tensor, tuple[str, ...]]:
    """Return (pictures uint8 [N, 3, S, S], concept index int64 [N], concept names) of a work folder."""
    card = json.loads((work / "captions.json").read_text())
    place = {name: i for i, name in enumerate(card["concepts"])}
    concepts = torch.tensor([place[concept] for concept, _ in card["rows"]])
    return load_file(work / "pictures.safetensors")["pictures"], concepts, tuple(card["concepts"])


def train_classifier(work: Path, recipe: EmojiRecipe, workers: Workers) -> PictureClassifier:
    """Train, or finish training, for `recipe.judge_steps`; return the averaged classifier, on the device."""
    torch.manual_seed(recipe.seed + SEED)
    pictures, concepts, names = read_labelled(work)
    pictures = pictures.to(workers.device)
    model = PictureClassifier(ClassifierConfig(names, picture_size=recipe.picture_size))
    if workers.device.type == "cuda":
        model.to(memory_format=torch.channels_last)
    wrapped = workers.module(model)
    average, optimizer = Average(model, 0.998), adamw(model, recipe.judge_lr)
    parts = {"model": model, "average": average, "optimizer": optimizer}
    training = Training(work, "classifier", recipe.judge_steps, parts, recipe.seed + SEED, workers)
    batch, size = recipe.judge_batch, recipe.picture_size

    def step(i: int, generator: torch.Generator) -> Losses:
        cosine_lr(optimizer, i, recipe.judge_steps, recipe.judge_lr)
        chosen = torch.randint(len(pictures), (batch,), generator=generator)
        poses, strengths = draw_poses(batch, generator), torch.rand(batch, 4, generator=generator)
        wanted, chosen, poses, strengths = workers.share(concepts[chosen], chosen, poses, strengths)
        noise = workers.noise((batch, 3, size, size), generator)
        seen = soften(augment(pictures[chosen], poses, size), strengths, noise)
        with workers.autocast():
            logits = wrapped(seen)[1]
        loss = F.cross_entropy(logits.float(), wanted, label_smoothing=LABEL_SMOOTHING)
        workers.update(loss, model, optimizer)
        average.update()
        return {"loss": loss, "top1": (logits.argmax(1) == wanted).float().mean()}

    run(training, step)
    classifier = average.module.to(memory_format=torch.contiguous_format).eval()
    features = _features_of(classifier, pictures)
    classifier.scale_features(features.mean(0), features.std(0).square().mean().sqrt().item())
    return classifier


def _features_of(classifier: PictureClassifier, pictures: torch.Tensor) -> torch.Tensor:
    """Features [N, D] of uint8 pictures [N, 3, S, S] as they are, in no pose."""
    size, poses = classifier.config.picture_size, torch.zeros(len(pictures), 4, device=pictures.device)
    parts = batches(len(pictures), 512)
    return torch.cat([classifier.judge(augment(pictures[part], poses[part], size))[0] for part in parts])


@torch.no_grad()
def accuracy_on_unseen_poses(classifier: PictureClassifier, work: Path, poses: int = 4) -> dict[str, float]:
    """Return {"top1", "top5"} over every picture in `poses` poses that training has not drawn."""
    device = next(classifier.parameters()).device
    pictures, concepts, _ = read_labelled(work)
    generator = torch.Generator().manual_seed(UNSEEN_POSES)
    hits = torch.zeros(2)
    for _ in range(poses):
        drawn = draw_poses(len(pictures), generator)
        for part in batches(len(pictures), 512):
            seen = augment(pictures[part].to(device), drawn[part].to(device), classifier.config.picture_size)
            best = classifier.judge(seen)[1].topk(5).indices.cpu() == concepts[part, None]
            hits += torch.stack([best[:, 0].sum(), best.sum()])
    top1, top5 = (hits / (poses * len(pictures))).tolist()
    return {"top1": top1, "top5": top5}
