"""A webdataset's .tar files of NAME.latent.npy and NAME.txt -> rows, read from where they are in the archive.

The headers are read once, at opening; after that a row costs its own bytes.
"""

import io
import math
import tarfile
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from edgestep.artifact import BadInput
from edgestep.distill.data.latent_data import LatentData, Tokenize

LATENT, TEXT = "latent.npy", "txt"
NPY_HEADER = 4096
DTYPES = (np.dtype("<f2"), np.dtype("<f4"))

Place = tuple[int, int]
"""Offset in the archive, size: bytes."""
Kind = tuple[tuple[int, ...], np.dtype]
"""Shape (C, h, w) and dtype of a latent."""


class TarData(LatentData):
    """Rows in the order of the archives, then of the latents in each; one shape and dtype (float16 or float32)."""

    def __init__(self, paths: Sequence[Path], tokenize: Tokenize):
        self._tokenize = tokenize
        self._files = [_mapped(path) for path in paths]
        index = [array("q") for _ in range(4)]
        kinds = {}
        for number, path in enumerate(paths):
            for name, latent, text in _samples(path):
                what = f"{name}.{LATENT} of {path}"
                shape, dtype, start = _npy_header(self._files[number], latent, what)
                kinds.setdefault((shape, dtype), what)
                for column, value in zip(index, (number, start, *text), strict=True):
                    column.append(value)
        (c, h, w), self._dtype = _one_kind(kinds, paths[0].parent)
        self.latent_shape = (c, h, w)
        self.prompt_tokens = tokenize([""]).shape[1]
        # arrays, not lists: 32 bytes a row
        self._file, self._start, self._text_start, self._text_size = (np.frombuffer(c, np.int64) for c in index)

    def __len__(self) -> int:
        """Number of rows."""
        return len(self._file)

    def take(self, index: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return (latents float32 [B, C, h, w], input_ids int64 [B, T]) of rows `index`."""
        rows = self._rows(index).tolist()
        latents = np.empty((len(rows), *self.latent_shape), np.float32)
        size = math.prod(self.latent_shape) * self._dtype.itemsize
        for place, row in enumerate(rows):
            stored = self._bytes(row, int(self._start[row]), size).view(self._dtype)
            latents[place] = stored.reshape(self.latent_shape)
        self._check_finite(latents, rows)
        return torch.from_numpy(latents), self._tokenize(self.texts(index))

    def texts(self, index: torch.Tensor) -> list[str]:
        """Return the prompts of rows `index`."""
        rows = self._rows(index).tolist()
        return [self._text(row) for row in rows]

    def _text(self, row: int) -> str:
        stored = self._bytes(row, int(self._text_start[row]), int(self._text_size[row]))
        try:
            return " ".join(stored.tobytes().decode("utf-8").split())
        except UnicodeDecodeError as error:
            raise BadInput(f"got the text of row {row} in another encoding ({error}); expected UTF-8") from error

    def _bytes(self, row: int, start: int, size: int) -> np.ndarray:
        # a copy: a float16 in the middle of an archive need not be aligned
        return np.array(self._files[self._file[row]][start : start + size])


def _samples(path: Path) -> Iterator[tuple[str, Place, Place]]:
    """Yield (name, latent's place, text's place), in the order in which they become whole."""
    waiting: dict[str, dict[str, Place]] = {}
    for member, place in _members(path):
        folder, _, base = member.rpartition("/")
        name, _, kind = base.partition(".")
        if kind not in {LATENT, TEXT}:
            continue
        key = f"{folder}/{name}" if folder else name
        parts = waiting.setdefault(key, {})
        parts[kind] = place
        if len(parts) == 2:
            yield key, parts[LATENT], parts[TEXT]
            del waiting[key]
    if waiting:
        name, parts = next(iter(waiting.items()))
        raise BadInput(
            f"got {name}.{next(iter(parts))} alone in {path}, one of {len(waiting)} such; "
            f"expected NAME.{LATENT} and NAME.{TEXT}; add what is missing"
        )


def _members(path: Path) -> Iterator[tuple[str, Place]]:
    try:
        with tarfile.open(path, "r:") as tar:
            while (member := tar.next()) is not None:
                tar.members.clear()  # type: ignore[attr-defined]  # tarfile keeps every header that it saw
                if member.isreg():
                    yield member.name, (member.offset_data, member.size)
    except (tarfile.TarError, EOFError, OSError) as error:
        raise BadInput(
            f"got a broken archive {path} ({error}); expected a whole .tar that is not compressed; copy it again"
        ) from error


def _npy_header(file: np.ndarray, place: Place, what: str) -> tuple[tuple[int, ...], np.dtype, int]:
    """Return (shape, dtype, where the numbers begin in the archive)."""
    start, size = place
    head = io.BytesIO(file[start : start + min(size, NPY_HEADER)].tobytes())
    read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    try:
        shape, fortran, dtype = read[np.lib.format.read_magic(head)](head)
    except (ValueError, KeyError, EOFError) as error:
        raise BadInput(f"got {what}, no .npy file ({error}); expected float16 [C, h, w]; write it again") from error
    begin = head.tell()
    fits = len(shape) == 3 and begin + int(np.prod(shape)) * dtype.itemsize == size
    if fortran or dtype not in DTYPES or not fits:
        raise BadInput(
            f"got {what}, {dtype} {shape} in {size} bytes; expected float16 [C, h, w] in C order; convert it"
        )
    return shape, dtype, start + begin


def _mapped(path: Path) -> np.ndarray:
    if not path.stat().st_size:
        raise BadInput(f"got an empty file {path}; expected a .tar; copy it again")
    return np.memmap(path, np.uint8, "r")


def _one_kind(kinds: dict[Kind, str], folder: Path) -> Kind:
    """Return the shape and dtype that all latents have; `kinds` has the first latent of each."""
    if len(kinds) == 1:
        return next(iter(kinds))
    if not kinds:
        raise BadInput(f"got no NAME.{LATENT} in {folder}; expected one with each NAME.{TEXT}; add them")
    told = " and ".join(f"{dtype} {shape} ({what})" for (shape, dtype), what in kinds.items())
    raise BadInput(f"got latents of {told}; expected one kind; keep data of one teacher in a folder")
