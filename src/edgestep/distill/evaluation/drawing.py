"""Ways to draw + prompts + noise -> latents -> what the judge makes of every picture."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from edgestep.artifact import BadInput
from edgestep.distill.diffusion import batches
from edgestep.distill.evaluation.accuracy import ranks_of
from edgestep.distill.evaluation.classifier import PictureClassifier
from edgestep.distill.evaluation.prompts import Prompts
from edgestep.distill.evaluation.ways import Way
from edgestep.distill.progress import track


@dataclass(frozen=True)
class Judged:
    """`features` float32 [N, D], and `ranks` int64 [N] of the wanted concepts, of N pictures."""

    features: np.ndarray
    ranks: np.ndarray


@torch.no_grad()
def draw_latents(way: Way, prompts: Prompts, noise: torch.Tensor, batch: int, what: str) -> torch.Tensor:
    """Draw every prompt from its noise [N, C, h, w], `batch` at a time: x0 float32 [N, C, h, w] on the CPU."""
    parts = []
    for part in track(list(batches(len(prompts), batch)), f"{way.name}: {what}"):
        embeds = way.embeds(list(prompts.texts[part]))
        parts.append(way.latents(noise[part].to(way.device), embeds).float().cpu())
    return torch.cat(parts)


@torch.no_grad()
def judge_latents(way: Way, x0: torch.Tensor, concepts: Sequence[int], judge: PictureClassifier, batch: int) -> Judged:
    """Decode x0 [N, C, h, w] and judge the pictures, `batch` at a time; the pictures are not kept."""
    parts = [judge.judge(way.decode(part.to(way.device).float())) for part in x0.split(batch)]
    return judged(parts, concepts, way.name)


def judged(parts: Sequence[tuple[torch.Tensor, torch.Tensor]], concepts: Sequence[int], name: str) -> Judged:
    """Join batches of (features, logits). Raises BadInput where pictures were not finite."""
    features = torch.cat([part[0] for part in parts]).cpu().numpy()
    logits = torch.cat([part[1] for part in parts]).cpu().numpy()
    bad = int((~np.isfinite(features).all(1)).sum())
    if bad:
        raise BadInput(
            f"got {bad} of {len(features)} pictures of {name!r} that are not finite; expected numbers; "
            "the network diverged: take an earlier checkpoint"
        )
    return Judged(features, ranks_of(logits, np.asarray(concepts)))
