"""Parquet files with the columns `latent` and `prompt` -> rows; a few row groups are in memory at a time.

`latent` is a fixed-size list (nested, [C][h][w], or flat) of float16 or float32, or binary of float16 in C order. Where
it is flat or binary, the file's key-value metadata has `latent_shape`, a JSON list: `[4, 64, 64]`.

A row costs the reading of its row group, so small ones (some 64 rows) suit training, which goes about in any order.
"""

import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from edgestep.artifact import BadInput
from edgestep.distill.data.latent_data import LatentData, Tokenize

COLUMNS = ("latent", "prompt")
SHAPE = b"latent_shape"
GROUPS = 4
"""Row groups that are kept in memory."""
FILES = 16
"""Files that are kept open."""

Group = tuple[np.ndarray, list[str]]


class ParquetData(LatentData):
    """Rows in the order of the files, then of their row groups."""

    def __init__(self, paths: Sequence[Path], tokenize: Tokenize):
        _pyarrow(paths[0])
        self._paths, self._tokenize = list(paths), tokenize
        self._open = lru_cache(FILES)(_open)
        self._group = lru_cache(GROUPS)(self._read)
        shapes, groups = {}, []
        for number, path in enumerate(paths):
            file = self._open(path)
            shapes[latent_shape_of(file, path)] = path
            groups += [(number, g, file.metadata.row_group(g).num_rows) for g in range(file.metadata.num_row_groups)]
        if len(shapes) > 1:
            raise BadInput(
                f"got latents of {' and '.join(map(str, shapes))} in {paths[0].parent}; expected one shape; "
                "keep data of one teacher in a folder"
            )
        self.latent_shape = next(iter(shapes))
        self._groups = np.array(groups, np.int64).reshape(-1, 3)
        self._starts = np.cumsum([0, *self._groups[:, 2]])
        self.prompt_tokens = tokenize([""]).shape[1]
        if not len(self):
            raise BadInput(f"got no row in {paths[0].parent}; expected at least one; write them")

    def __len__(self) -> int:
        """Number of rows."""
        return int(self._starts[-1])

    def take(self, index: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return (latents float32 [B, C, h, w], input_ids int64 [B, T]) of rows `index`."""
        latents, texts = self._take(index)
        return torch.from_numpy(latents), self._tokenize(texts)

    def texts(self, index: torch.Tensor) -> list[str]:
        """Return the prompts of rows `index`."""
        return self._take(index)[1]

    def _take(self, index: torch.Tensor) -> Group:
        rows = self._rows(index).numpy()
        latents, texts = np.empty((len(rows), *self.latent_shape), np.float32), [""] * len(rows)
        groups = np.searchsorted(self._starts, rows, side="right") - 1
        for number in np.unique(groups):
            places = np.flatnonzero(groups == number)
            here = rows[places] - self._starts[number]
            stored, prompts = self._group(int(number))
            latents[places] = stored[here]
            for place, row in zip(places, here, strict=True):
                texts[place] = prompts[row]
        self._check_finite(latents, rows.tolist())
        return latents, texts

    def _read(self, number: int) -> Group:
        import pyarrow

        file, group, rows = self._groups[number].tolist()
        path = self._paths[file]
        try:
            table = self._open(path).read_row_group(group, columns=list(COLUMNS))
            latents = _numbers(table.column("latent").combine_chunks())
            prompts = table.column("prompt").to_pylist()
        except (pyarrow.ArrowException, OSError) as error:
            raise _broken(path, error) from error
        if latents.size != rows * int(np.prod(self.latent_shape)) or None in prompts:
            raise BadInput(
                f"got row group {group} of {path} with rows that lack a latent or a prompt; "
                f"expected {rows} of {self.latent_shape}; write them"
            )
        return latents.reshape(rows, *self.latent_shape), prompts


def latent_shape_of(file: Any, path: Path) -> tuple[int, int, int]:
    """Return (C, h, w) as the column's type or the file's metadata tell it; raise BadInput where the columns misfit."""
    from pyarrow import types

    schema = file.schema_arrow
    missing = [name for name in COLUMNS if name not in schema.names]
    if missing:
        raise BadInput(
            f"got {path} without {' and '.join(missing)}; expected the columns {' and '.join(COLUMNS)}; add them"
        )
    kind, sizes = schema.field("latent").type, []
    while types.is_fixed_size_list(kind):
        sizes.append(kind.list_size)
        kind = kind.value_type
    shape = sizes if len(sizes) == 3 else _told_shape(schema.metadata or {}, path)
    flat = types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind)
    numbers = types.is_float16(kind) or types.is_float32(kind)
    if not (flat if not sizes else numbers and np.prod(sizes) == np.prod(shape)):
        raise BadInput(
            f"got a latent column of {schema.field('latent').type} in {path}; expected a fixed-size list of float16 "
            f"with {np.prod(shape)} numbers, or binary; convert it"
        )
    return shape[0], shape[1], shape[2]


def _told_shape(metadata: dict[bytes, bytes], path: Path) -> list[int]:
    try:
        shape = json.loads(metadata[SHAPE])
        if len(shape) == 3 and all(isinstance(n, int) and n > 0 for n in shape):
            return shape
    except (KeyError, ValueError, TypeError):
        pass
    raise BadInput(
        f"got {path}, which does not tell the latents' shape; expected latent_shape in its key-value metadata, such as "
        "[4, 64, 64]; write it there"
    )


def _numbers(column: Any) -> np.ndarray:
    """Return all numbers of the column, flat; fewer than there should be where a row is null."""
    from pyarrow import types

    if types.is_fixed_size_list(column.type):
        while types.is_fixed_size_list(column.type):
            column = column.flatten()
        return column.to_numpy(zero_copy_only=False)
    return np.frombuffer(b"".join(part or b"" for part in column.to_pylist()), np.dtype("<f2"))


def _open(path: Path) -> Any:
    import pyarrow
    import pyarrow.parquet

    try:
        return pyarrow.parquet.ParquetFile(path, memory_map=True)
    except (pyarrow.ArrowException, OSError) as error:
        raise _broken(path, error) from error


def _broken(path: Path, error: Exception) -> BadInput:
    line = (str(error).splitlines() or [type(error).__name__])[0]
    return BadInput(f"got a broken {path} ({line}); expected a whole parquet file; copy it again")


def _pyarrow(path: Path) -> None:
    try:
        import pyarrow  # noqa: F401
    except ImportError as error:
        raise BadInput(
            f"got {path} and no pyarrow; expected it for parquet; pip install 'edgestep[parquet]'"
        ) from error
