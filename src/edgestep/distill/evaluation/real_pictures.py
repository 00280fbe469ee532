"""The real pictures as pixels, for measures that have features of their own."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

from edgestep.artifact import BadInput
from edgestep.distill.data.captioned import list_captioned
from edgestep.distill.data.picture import UnreadablePicture, read_picture
from edgestep.distill.evaluation.prompts import permuted


def is_work_folder(data: Path) -> bool:
    """Whether `data` holds pictures as a tensor, with concepts, as the emoji recipe writes them."""
    return (data / "pictures.safetensors").is_file() and (data / "captions.json").is_file()


def captions_of(data: Path, count: int, seed: int) -> list[str]:
    """Return `count` captions of a folder of captioned pictures, all of them once before any comes twice."""
    found = list_captioned(data)
    return [found[i].text for i in permuted(len(found), count, seed)]


def real_batches(data: Path, size: tuple[int, int], batch: int) -> Iterator[torch.Tensor]:
    """Yield all pictures, uint8 [B, 3, H, W]; those of a work folder as they are, files fitted to `size`.

    Unreadable files are left out; BadInput where none is left.
    """
    if is_work_folder(data):
        yield from load_file(data / "pictures.safetensors")["pictures"].split(batch)
        return
    block, count = [], 0
    for item in list_captioned(data, allow_empty=True):
        try:
            block.append(read_picture(data / item.file, size))
        except UnreadablePicture:
            continue
        count += 1
        if len(block) == batch:
            yield _stacked(block)
            block = []
    if block:
        yield _stacked(block)
    if count < 2:
        raise BadInput(f"got {count} readable pictures in {data}; expected 2 or more; add pictures")


def _stacked(block: list[np.ndarray]) -> torch.Tensor:
    return torch.from_numpy(np.stack(block)).permute(0, 3, 1, 2).contiguous()
