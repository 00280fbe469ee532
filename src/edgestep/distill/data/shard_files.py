"""One shard: `shard-00000.safetensors` (latents, token ids, notes) and `shard-00000.prompts.jsonl` (texts)."""

import json
import math
import os
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save

from edgestep.artifact import BadInput

NOTES = "edgestep"
"""The one key of the file's metadata: with more, equal shards would not have equal bytes."""
DTYPES = {"latents": ("F16", np.dtype("<f2")), "input_ids": ("I32", np.dtype("<i4"))}
HEADER_LIMIT = 1 << 24


@dataclass(frozen=True)
class Skipped:
    """A picture that is not in the data: its path in the folder, and why."""

    file: str
    reason: str


@dataclass(frozen=True)
class Block:
    """The rows that a run of items gave: latents [n, C, h, w], input_ids [n, T], n texts; and what it did not take.

    `truncated` counts the captions that were longer than the tokenizer takes.
    """

    latents: torch.Tensor
    input_ids: torch.Tensor
    texts: tuple[str, ...]
    skipped: tuple[Skipped, ...] = ()
    truncated: int = 0


@dataclass(frozen=True)
class Shard:
    """A finished shard's header: where its arrays are in the file, and what the block told."""

    path: Path
    rows: int
    shapes: dict[str, tuple[int, ...]]
    offsets: dict[str, int]
    skipped: tuple[Skipped, ...]
    truncated: int

    def array(self, name: str) -> np.ndarray:
        """Return `latents` or `input_ids`, mapped: a row comes into memory when it is read, and may leave it again."""
        return np.memmap(self.path, DTYPES[name][1], "r", self.offsets[name], self.shapes[name])

    def texts(self, rows: list[int]) -> list[str]:
        """Return the prompts of these rows, reading a line at a time."""
        wanted, found = set(rows), {}
        with prompts_of(self.path).open(encoding="utf-8") as lines:
            for i, line in enumerate(islice(lines, max(rows, default=-1) + 1)):
                if i in wanted:
                    found[i] = json.loads(line)["text"]
        return [found[row] for row in rows]


def shard_path(folder: Path, number: int) -> Path:
    """Return `folder`/shard-00007.safetensors for 7."""
    return folder / f"shard-{number:05d}.safetensors"


def prompts_of(path: Path) -> Path:
    """Return the file of texts that stands beside a shard."""
    return path.with_name(path.stem + ".prompts.jsonl")


def write_shard(path: Path, block: Block) -> None:
    """Write the texts, then the arrays, each aside and moved: where the .safetensors is, the shard is finished."""
    lines = "".join(json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in block.texts)
    aside = path.with_name(f".{path.name}.partial-{os.getpid()}")
    aside.write_text(lines, encoding="utf-8")
    os.replace(aside, prompts_of(path))
    notes = {"skipped": [[s.file, s.reason] for s in block.skipped], "truncated": block.truncated}
    tensors = {
        "latents": block.latents.to("cpu", torch.float16).contiguous(),
        "input_ids": block.input_ids.to("cpu", torch.int32).contiguous(),
    }
    # not save_file, which lets nobody but its owner read what it writes
    aside.write_bytes(save(tensors, metadata={NOTES: json.dumps(notes)}))
    os.replace(aside, path)


def read_shard(path: Path) -> Shard:
    """Read a shard's header and check that the arrays it tells of are in the file; raise BadInput where not."""
    try:
        return _shard_from_header(path)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadInput(
            f"got a broken shard {path} ({error}); expected the whole file; remove it and precompute again: "
            "finished shards stay"
        ) from error


def _shard_from_header(path: Path) -> Shard:
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > min(size - 8, HEADER_LIMIT):
            raise ValueError(f"a header of {length} bytes in a file of {size}")
        header = json.loads(file.read(length))
    shapes, offsets = {}, {}
    for name, (code, dtype) in DTYPES.items():
        shapes[name], offsets[name] = _place(header[name], code, dtype, 8 + length, size)
    if not prompts_of(path).is_file() or shapes["latents"][0] != shapes["input_ids"][0]:
        raise ValueError("its prompts, token ids and latents do not belong together")
    notes = json.loads(header["__metadata__"][NOTES])
    skipped = tuple(Skipped(file, reason) for file, reason in notes["skipped"])
    return Shard(path, shapes["latents"][0], shapes, offsets, skipped, int(notes["truncated"]))


def _place(entry: dict[str, Any], code: str, dtype: np.dtype, start: int, size: int) -> tuple[tuple[int, ...], int]:
    shape = tuple(int(n) for n in entry["shape"])
    begin, end = entry["data_offsets"]
    if entry["dtype"] != code or end - begin != math.prod(shape) * dtype.itemsize or start + end > size or begin < 0:
        raise ValueError(f"an array of {entry['dtype']} {shape} at {begin} .. {end} in a file of {size} bytes")
    return shape, start + begin
