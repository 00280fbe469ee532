"""CLIP score and Inception FID of every way to draw: for checkpoints that are not of the judge's concepts."""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from edgestep.distill.diffusion import batches
from edgestep.distill.evaluation.clip_score import ClipScore
from edgestep.distill.evaluation.grid import to_uint8
from edgestep.distill.evaluation.inception import InceptionFid
from edgestep.distill.evaluation.prompts import noise_of
from edgestep.distill.evaluation.real_pictures import real_batches
from edgestep.distill.evaluation.sizes import Sizes
from edgestep.distill.evaluation.timing import time_ways
from edgestep.distill.evaluation.ways import Way, check_ways
from edgestep.distill.progress import track

SCHEMA = "edgestep.large-evaluation/1"
FILE = "evaluation-large.json"


@dataclass(frozen=True)
class LargeRow:
    """One way to draw; a measure that was not asked for is None."""

    name: str
    nfe: int
    clip_score: float | None
    inception_fid: float | None
    seconds: float


def evaluate_large(
    ways: Sequence[Way],
    prompts: Sequence[str],
    data: Path,
    out: Path,
    sizes: Sizes,
    clip: ClipScore | None,
    inception: InceptionFid | None,
) -> list[LargeRow]:
    """Draw `prompts` with every way from the same noise; write `out`/evaluation-large.json.

    `data` holds the real pictures: a work folder, or a folder of captioned pictures.
    """
    check_ways(ways)
    shape, device = ways[0].latent_shape, ways[0].device
    seconds = time_ways(ways, prompts[0], noise_of(sizes.timed_batch, shape, sizes.seed), sizes.turns)
    noise = noise_of(len(prompts), shape, sizes.seed + 5)
    if inception is not None:
        height, width = ways[0].draw(list(prompts[:1]), noise[:1]).shape[-2:]
        for real in real_batches(data, (height, width), sizes.batch):
            inception.add(real.to(device), real=True)
    rows = []
    for way in ways:
        scores = _scores(way, prompts, noise, sizes.batch, clip, inception)
        rows.append(LargeRow(way.name, way.nfe, *scores, seconds[way.name].total))
    _write(out, rows, {"sizes": asdict(sizes), "pictures": len(prompts)})
    return rows


def _scores(
    way: Way,
    prompts: Sequence[str],
    noise: torch.Tensor,
    batch: int,
    clip: ClipScore | None,
    inception: InceptionFid | None,
) -> tuple[float | None, float | None]:
    for part in track(list(batches(len(prompts), batch)), way.name):
        drawn = (
            torch.from_numpy(to_uint8(way.draw(list(prompts[part]), noise[part]))).permute(0, 3, 1, 2).to(way.device)
        )
        if clip is not None:
            clip.add(drawn, prompts[part])
        if inception is not None:
            inception.add(drawn, real=False)
    return clip.value() if clip else None, inception.value() if inception else None


def _write(out: Path, rows: Sequence[LargeRow], about: dict[str, Any]) -> None:
    out.mkdir(parents=True, exist_ok=True)
    aside = out / f".{FILE}.{os.getpid()}"
    content = {"schema": SCHEMA, **about, "rows": [asdict(row) for row in rows]}
    aside.write_text(json.dumps(content, indent=1) + "\n")
    os.replace(aside, out / FILE)


def large_table(rows: Sequence[LargeRow]) -> str:
    """Return the rows as Markdown."""
    lines = ["| drawn by | NFE | CLIP score | Inception FID | s / picture |", "| --- | ---: | ---: | ---: | ---: |"]
    for row in rows:
        clip = "–" if row.clip_score is None else f"{row.clip_score:.2f}"
        fid = "–" if row.inception_fid is None else f"{row.inception_fid:.2f}"
        lines.append(f"| {row.name} | {row.nfe} | {clip} | {fid} | {row.seconds:.4f} |")
    return "\n".join(lines)
