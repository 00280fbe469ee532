"""Pictures and captions -> a data folder, encoded once by the teacher's VAE and tokenizer. Killed, it goes on."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch

from edgestep.artifact import sha256_of_json
from edgestep.distill.data.about import DataInfo
from edgestep.distill.data.captioned import Captioned, list_captioned
from edgestep.distill.data.encoder import Encoder, open_encoder
from edgestep.distill.data.picture import UnreadablePicture, read_picture
from edgestep.distill.data.shard_files import Block, Skipped
from edgestep.distill.data.shards import write_shards
from edgestep.distill.data.tokenizing import count_longer, sha256_of_tokenizer, tokenize_with
from edgestep.distill.workers import Workers

READERS = min(8, os.cpu_count() or 1)
"""Threads that decode pictures: a batch's are read beside one another."""


def precompute(
    pictures: Path,
    teacher: Path,
    out: Path,
    workers: Workers,
    *,
    batch: int = 8,
    shard_rows: int = 256,
    allow_empty: bool = False,
) -> dict[str, Any]:
    """Write `out` from the pictures of the folder `pictures`; return what its `data.json` tells.

    Pictures that cannot be read are left out and listed there, with the reason. A shard, the most that a killed run
    loses, holds `shard_rows` pictures; several processes share the shards among them.
    """
    found = list_captioned(pictures, allow_empty)
    encoder = open_encoder(teacher, workers.device)
    info = DataInfo(
        latent_shape=encoder.latent_shape,
        latent_scale=encoder.latent_scale,
        prompt_tokens=encoder.prompt_tokens,
        tokenizer_sha256=sha256_of_tokenizer(encoder.tokenizer),
        source_sha256=_source_sha256(pictures, found, encoder),
    )

    def make(items: range) -> Block:
        return block_from_pictures(pictures, found[items.start : items.stop], encoder, batch)

    return write_shards(out, info, len(found), make, shard_rows=shard_rows, workers=workers)


def block_from_pictures(folder: Path, found: Sequence[Captioned], encoder: Encoder, batch: int) -> Block:
    """Encode `batch` pictures at a time; those that cannot be read, or give no finite latent, are skipped."""
    latents, kept, skipped = [torch.empty(0, *encoder.latent_shape)], [], []
    with ThreadPoolExecutor(READERS) as pool:
        for start in range(0, len(found), batch):
            group = found[start : start + batch]
            for captioned, got in zip(group, _encoded(folder, group, encoder, pool), strict=True):
                if isinstance(got, str):
                    skipped.append(Skipped(captioned.file, got))
                else:
                    latents.append(got[None])
                    kept.append(captioned.text)
    ids = tokenize_with(encoder.tokenizer, encoder.prompt_tokens)(kept)
    longer = count_longer(encoder.tokenizer, kept, encoder.prompt_tokens)
    return Block(torch.cat(latents), ids, tuple(kept), tuple(skipped), longer)


def _encoded(
    folder: Path, group: Sequence[Captioned], encoder: Encoder, pool: ThreadPoolExecutor
) -> list[torch.Tensor | str]:
    """Return a latent for each picture, or why there is none."""
    read = list(pool.map(lambda captioned: _read(folder / captioned.file, encoder.image_size), group))
    pictures = [picture for picture in read if not isinstance(picture, str)]
    latents = iter(encoder.encode(pictures) if pictures else ())
    return [picture if isinstance(picture, str) else _finite(next(latents)) for picture in read]


def _read(path: Path, size: tuple[int, int]) -> np.ndarray | str:
    try:
        return read_picture(path, size)
    except UnreadablePicture as error:
        return str(error)


def _finite(latent: torch.Tensor) -> torch.Tensor | str:
    return latent if latent.half().isfinite().all() else "its latent is not finite in float16"


def _source_sha256(folder: Path, found: Sequence[Captioned], encoder: Encoder) -> str:
    """Name what the data is made from: files, sizes, captions, the VAE, the picture's size."""
    rows = [[c.file, _size(folder / c.file), c.text] for c in found]
    return sha256_of_json([rows, encoder.vae_sha256, list(encoder.image_size)])


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1
