"""What a work folder was begun for, kept beside its state: a run goes on only with the same checkpoint and recipe."""

import json
import os
from dataclasses import asdict
from pathlib import Path

from edgestep.artifact import BadInput, sha256_of_file, sha256_of_json
from edgestep.distill.decoder.recipe import DecoderRecipe
from edgestep.distill.workers import Workers

BEGUN = "decoder.json"
PARTS = ("unet", "text_encoder", "vae")


def check_begun(work: Path, checkpoint: Path, recipe: DecoderRecipe, data: Path | None, workers: Workers) -> None:
    """Write what this run is of into `work`, or raise BadInput where the folder was begun for something else."""
    path = work / BEGUN
    told = {"checkpoint": _sha256(checkpoint), "data": data is not None, **asdict(recipe)}
    del told["measured"]  # of the result, not of the run
    told = json.loads(json.dumps(told))
    if path.is_file():
        _check_same(path, told)
    # nobody writes before everybody has looked
    workers.wait()
    if workers.is_main:
        work.mkdir(parents=True, exist_ok=True)
        aside = path.with_suffix(".tmp")
        aside.write_text(json.dumps(told, indent=1) + "\n")
        os.replace(aside, path)


def _check_same(path: Path, told: dict) -> None:
    try:
        there = dict(json.loads(path.read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise BadInput(f"got {path}, which cannot be read; expected what a run wrote; use another --work") from error
    other = [name for name, value in told.items() if there.get(name) != value]
    if other:
        raise BadInput(
            f"got {path.parent}, begun with another {' and '.join(other)}; expected the same, to go on; "
            "use another --work folder, or remove this one"
        )


def _sha256(checkpoint: Path) -> str:
    """Return the hash of the networks that latents and pictures come from."""
    files = sorted(p for part in PARTS for p in (checkpoint / part).rglob("*") if p.is_file())
    return sha256_of_json({str(p.relative_to(checkpoint)): sha256_of_file(p) for p in files})
