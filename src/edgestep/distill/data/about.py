"""`data.json`: what a data folder holds, and whether it is finished."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgestep.artifact import BadInput

ABOUT = "data.json"
SCHEMA = "edgestep.latents/1"


@dataclass(frozen=True)
class DataInfo:
    """What the rows are: latents of (C, h, w) times `latent_scale`, `prompt_tokens` ids of a tokenizer with that hash.

    A scale of None is not told, and not compared. `source_sha256` names what they were made from: a folder begun
    from something else is not gone on with.
    """

    latent_shape: tuple[int, int, int]
    latent_scale: float | None
    prompt_tokens: int
    tokenizer_sha256: str = ""
    source_sha256: str = ""


def read_about(folder: Path) -> dict[str, Any]:
    """Return what `data.json` tells, checked for its schema; raise BadInput where it is broken or of another one."""
    path = folder / ABOUT
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
        schema = about["schema"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadInput(f"got a broken {path} ({error}); expected {SCHEMA}; precompute the data again") from error
    if schema != SCHEMA:
        raise BadInput(f"got schema {schema!r} in {path}; expected {SCHEMA!r}; precompute the data again")
    return about


def write_about(folder: Path, about: dict[str, Any]) -> None:
    """Write `data.json`, aside and moved."""
    aside = folder / f".{ABOUT}.partial-{os.getpid()}"
    aside.write_text(json.dumps(about, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(aside, folder / ABOUT)
