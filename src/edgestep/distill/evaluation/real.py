"""The real pictures, in random poses as the teacher's training drew them, and what the judge makes of them."""

from pathlib import Path

import torch

from edgestep.distill.diffusion import batches
from edgestep.distill.emoji.augment import augment, draw_poses
from edgestep.distill.evaluation.classifier import PictureClassifier
from edgestep.distill.evaluation.drawing import Judged, judged
from edgestep.distill.evaluation.judge_training import read_labelled
from edgestep.distill.evaluation.prompts import permuted


@torch.no_grad()
def judge_real(work: Path, judge: PictureClassifier, count: int, seed: int) -> Judged:
    """Judge `count` real pictures of `work`. Another seed, other poses."""
    device = next(judge.parameters()).device
    pictures, concepts, _ = read_labelled(work)
    chosen = torch.tensor(permuted(len(pictures), count, seed))
    poses = draw_poses(count, torch.Generator().manual_seed(seed + 1))
    parts = []
    for part in batches(count, 512):
        there = augment(pictures[chosen[part]].to(device), poses[part].to(device), judge.config.picture_size)
        parts.append(judge.judge(there))
    return judged(parts, concepts[chosen].tolist(), "the real pictures")
