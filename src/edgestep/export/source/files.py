"""A component's folder -> which of its weight files to read, and what all files of a checkpoint hash to."""

import os
import re
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path

from edgestep.artifact import BadInput, inside, sha256_of_file, sha256_of_json
from edgestep.export.source.bases import PICKLE_STEMS
from edgestep.export.source.json_files import read_json
from edgestep.export.source.pickles import PICKLES, SAFE

VARIANTS = ("", "fp16", "bf16")
"""The types that weights are published in, the first that is there is read: "fp16" for *.fp16.safetensors."""


def weight_files(folder: Path, stem: str, *, allow_pickle: bool, strict: bool) -> tuple[Path, ...]:
    """Return the files of one component: safetensors before pickles, plain before fp16, one file before shards.

    `strict`: raise BadInput where the folder holds other weights too, so that it is not clear which are meant. Raises
    it as well where there are none, an index names a shard that is missing or outside, or they are pickles and
    `allow_pickle` is not set.
    """
    for variant in VARIANTS:
        sets = [s for s in (_single(folder, stem, variant), _sharded(folder, stem, variant)) if s]
        if sets:
            if strict:
                _check_alone(folder, stem, sets)
            return sets[0]
    if (folder / f"{stem}.safetensors.index.json").is_file():
        return _shards(folder / f"{stem}.safetensors.index.json")  # names what is missing
    return _pickles(folder, stem, allow_pickle)


def check_weight_file(path: Path, *, allow_pickle: bool) -> None:
    """Raise BadInput where a file that was handed over is none, or of a kind that is not read."""
    if not path.is_file():
        raise BadInput(f"got {path}, which is no file; expected weights in .safetensors; check the name")
    if path.suffix == ".pkl":
        raise BadInput(
            f"got {path}, a pickle of Python objects, which runs code when loaded; expected .safetensors; convert its "
            f"network's state_dict where you trust it: {SAFE}"
        )
    if path.suffix in PICKLES and not allow_pickle:
        raise _refused(path, "a .safetensors")
    if path.suffix not in (".safetensors", *PICKLES):
        raise BadInput(f"got {path}; expected weights in .safetensors, or .bin with --allow-pickle; convert it")


def _refused(path: Path, expected: str) -> BadInput:
    return BadInput(
        f"got {path}, a pickle, which can run code when loaded; expected {expected}; convert it, or allow it with "
        "--allow-pickle"
    )


def _single(folder: Path, stem: str, variant: str) -> tuple[Path, ...]:
    path = folder / (f"{stem}.{variant}.safetensors" if variant else f"{stem}.safetensors")
    return (path,) if path.is_file() else ()


def _sharded(folder: Path, stem: str, variant: str) -> tuple[Path, ...]:
    name = f"{stem}.safetensors.index.{variant}.json" if variant else f"{stem}.safetensors.index.json"
    index = folder / name
    if not index.is_file():
        return ()
    # A download of one variant brings every variant's index, and the shards of one.
    return _shards(index) if any((folder / n).is_file() for n in _names(index)) else ()


def _names(index: Path) -> list[str]:
    table = read_json(index).get("weight_map")
    if not isinstance(table, Mapping) or not table:
        raise BadInput(f"got no weight_map in {index}; expected tensor names and their shards; download it again")
    return sorted({str(name) for name in table.values()})


def _shards(index: Path) -> tuple[Path, ...]:
    paths = tuple(inside(index.parent, name) for name in _names(index))
    missing = [path.name for path in paths if not path.is_file()]
    if missing:
        raise BadInput(
            f"got {index} that lists {', '.join(missing[:3])} ({len(missing)} of {len(paths)} shards missing); "
            "expected all of them beside it; download the checkpoint again"
        )
    return paths


def _check_alone(folder: Path, stem: str, sets: list[tuple[Path, ...]]) -> None:
    ours = {path.name for files in sets for path in files}
    kin = re.compile(rf"{re.escape(stem)}(\.[a-z0-9_]+)?(-\d+-of-\d+)?(\.[a-z0-9_]+)?\.safetensors")
    strays = sorted(p.name for p in folder.glob("*.safetensors") if p.name not in ours and not kin.fullmatch(p.name))
    rivals = [sets[1][0].name + " ..."] if len(sets) > 1 else strays
    if rivals:
        raise BadInput(
            f"got {sets[0][0].name} and {', '.join(rivals[:3])} in {folder}; expected the weights of one network; "
            "remove the others, or say which with --unet"
        )


def _pickles(folder: Path, stem: str, allow_pickle: bool) -> tuple[Path, ...]:
    known = PICKLE_STEMS[stem]
    for variant in ("", ".fp16"):
        path = folder / f"{known}{variant}.bin"
        if path.is_file():
            check_weight_file(path, allow_pickle=True)
            if not allow_pickle:
                raise _refused(path, f"{stem}.safetensors")
            return (path,)
    index = folder / f"{known}.bin.index.json"
    if index.is_file():
        if not allow_pickle:
            raise _refused(index.parent / _names(index)[0], f"{stem}.safetensors")
        return _shards(index)
    raise BadInput(f"got no {stem}.safetensors in {folder}; expected the weights of {folder.name}; download it again")


def sha256_of_files(files: Mapping[str, Path], more: Mapping[str, object]) -> str:
    """Return one SHA-256 over named files and `more`. Each file is read once in a process, several at a time."""
    names = sorted(files)
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        hashes = list(pool.map(_hash, (files[name] for name in names)))
    content = dict(zip(names, hashes, strict=True))
    return sha256_of_json({**content, "": dict(more)} if more else content)


def _hash(path: Path) -> str:
    stat = path.stat()
    return _hash_once(path.resolve(), stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=4096)
def _hash_once(path: Path, size: int, changed: int) -> str:
    return sha256_of_file(path)


def files_by_name(folder: Path, paths: Iterable[Path], prefix: str) -> dict[str, Path]:
    """Return what a hash calls each path: relative to `folder` where it lies in it, else `prefix` and its name."""
    return {
        path.relative_to(folder).as_posix() if path.is_relative_to(folder) else f"{prefix}/{path.name}": path
        for path in paths
    }
