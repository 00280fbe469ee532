"""A data folder of shards: `data.json`, and per shard the arrays and the prompts. Written in pieces, read by row.

Shard k holds what items k * shard_rows .. (k + 1) * shard_rows - 1 gave. An item that was skipped leaves no row, so a
shard may be shorter; which shard an item belongs to never changes, and a killed run goes on with the next shard.
"""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from edgestep.artifact import BadInput
from edgestep.distill.data.about import ABOUT, SCHEMA, DataInfo, read_about, write_about
from edgestep.distill.data.shard_files import Block, read_shard, shard_path, write_shard
from edgestep.distill.progress import track
from edgestep.distill.workers import Workers

Make = Callable[[range], Block]
"""Item numbers -> their rows."""


def write_shards(
    folder: Path,
    info: DataInfo,
    items: int,
    make: Make,
    *,
    shard_rows: int = 4096,
    workers: Workers | None = None,
) -> dict[str, Any]:
    """Write the rows of `items` items into `folder`, a shard at a time; return what `data.json` tells.

    `make(range)` returns the rows of these items; one shard is in memory at a time. Killed and called again, finished
    shards stay. With several `workers` each makes its own shards. Raises BadInput where the folder holds other data,
    a row does not fit `info` or is not finite in float16, or no row is left at all.
    """
    about = {"schema": SCHEMA, **asdict(info), "items": items, "shard_rows": shard_rows}
    main, rank, count = (workers.is_main, workers.rank, workers.count) if workers else (True, 0, 1)
    if _begun(folder, about):
        return read_about(folder)
    _wait(workers)
    if main:
        _begin(folder, about)
    _wait(workers)
    numbers = range(-(-items // shard_rows))
    mine = numbers[rank::count]
    for number in track(mine, "writing shards") if main else mine:
        if not _finished(shard_path(folder, number)):
            block = make(range(number * shard_rows, min(items, (number + 1) * shard_rows)))
            _check_block(block, info)
            write_shard(shard_path(folder, number), block)
    _wait(workers)
    told = _told(folder, about, len(numbers))
    if main:
        write_about(folder, told)
    _wait(workers)
    return told


def _begun(folder: Path, about: dict[str, Any]) -> bool:
    """Return whether the folder is finished already; raise BadInput where it is of something else."""
    if not (folder / ABOUT).is_file():
        if folder.is_file() or (folder.is_dir() and any(p for p in folder.iterdir() if not p.name.startswith("."))):
            raise BadInput(f"got {folder}, which holds other files; expected a new or empty folder; choose another")
        return False
    there = read_about(folder)
    told = json.loads(json.dumps(about))
    other = [name for name, value in told.items() if there.get(name) != value]
    if other:
        raise BadInput(
            f"got {folder}, begun with another {' and '.join(other)}; expected the same data to go on with; "
            "choose another folder, or remove this one"
        )
    return bool(there.get("finished"))


def _wait(workers: Workers | None) -> None:
    if workers:
        workers.wait()


def _begin(folder: Path, about: dict[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.glob(".shard-*.partial-*"):
        left.unlink(missing_ok=True)
    write_about(folder, {**about, "finished": False})


def _finished(path: Path) -> bool:
    """Return whether the shard is there and whole; one that is not whole is made again."""
    try:
        read_shard(path)
    except BadInput:
        return False
    return True


def _check_block(block: Block, info: DataInfo) -> None:
    count = len(block.texts)
    got = tuple(block.latents.shape), tuple(block.input_ids.shape)
    expected = (count, *info.latent_shape), (count, info.prompt_tokens)
    if got != expected:
        raise BadInput(f"got rows of {got}; expected {expected} for {count} texts; check what makes them")
    if not torch.isfinite(block.latents.to(torch.float16)).all():
        raise BadInput("got latents that are not finite in float16; expected |x| < 65504; check the encoder's scale")


def _told(folder: Path, about: dict[str, Any], count: int) -> dict[str, Any]:
    """Return the finished `data.json`: what it was begun with, and what the shards tell."""
    shards = [read_shard(shard_path(folder, number)) for number in range(count)]
    skipped = [asdict(s) for shard in shards for s in shard.skipped]
    rows = [shard.rows for shard in shards]
    if not sum(rows):
        raise BadInput(
            f"got no row out of {about['items']} items, {len(skipped)} skipped; expected at least one; "
            f"{_first(skipped)}"
        )
    cut = sum(shard.truncated for shard in shards)
    told = {**about, "finished": True, "truncated": cut, "skipped": skipped, "rows": rows}
    return json.loads(json.dumps(told))


def _first(skipped: list[dict[str, str]]) -> str:
    return f"the first: {skipped[0]['file']}, {skipped[0]['reason']}" if skipped else "check the source"
