"""Taps on disk: what PyTorch's modules read and gave in some cases of a bundle. taps.json and taps.safetensors.

They lie in the folder of the bundle that they were recorded with, which is the same with and without them. Tensors are
named by the SHA-256 of their bytes, so that what one module gives and the next one reads is stored once.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgestep.artifact import BadInput, sha256_of_file
from edgestep.harness.plain import from_plain, plain_from
from edgestep.harness.reference.bundle import TENSORS as BUNDLE
from edgestep.harness.reference.bundle import Reference

TAPS_SCHEMA = "edgestep.taps/1"
INDEX, TENSORS = "taps.json", "taps.safetensors"
IN, OUT = "in", "out"


@dataclass(frozen=True)
class Tap:
    """What one call of a module read or gave: `Tap("unet", "unet.conv_in", "out", 0, True, (1, 64, 8, 8), ...)`.

    `component` is the artifact's graph, `module` the dotted path under which exporters name its operations. `call`
    counts the calls of a module in one run of the component, from 0. `leaf` says that it has no modules inside.
    `sha256` maps a case's name to the tensor. Taps are listed in the order in which they happened.
    """

    component: str
    module: str
    port: str
    call: int
    leaf: bool
    shape: tuple[int, ...]
    sha256: Mapping[str, str]


@dataclass(frozen=True)
class TapIndex:
    """taps.json. `reference_sha256` is the hash of the bundle's own tensors; `too_large` counts what was left out."""

    schema: str
    reference_sha256: str
    tensors_sha256: str
    cases: tuple[str, ...]
    taps: tuple[Tap, ...]
    too_large: int = 0


@dataclass(frozen=True, eq=False)
class Taps:
    """The index, and where its tensors are: they are read one at a time."""

    index: TapIndex
    file: Path

    def read(self, names: Sequence[str]) -> dict[str, np.ndarray]:
        """Return float32 arrays by SHA-256."""
        from safetensors import safe_open

        with safe_open(self.file, framework="numpy") as tensors:
            return {name: tensors.get_tensor(name) for name in names}


@dataclass(frozen=True, eq=False)
class Recorded:
    """Taps in memory: float32 arrays by SHA-256."""

    cases: tuple[str, ...]
    taps: tuple[Tap, ...]
    tensors: Mapping[str, np.ndarray]
    too_large: int = 0


def sha256_of_array(array: np.ndarray) -> str:
    """Return the hash of shape and bytes, which also is the tensor's name."""
    digest = hashlib.sha256(f"{array.dtype.str}{list(array.shape)}".encode())
    digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def write_taps(folder: Path, recorded: Recorded) -> None:
    """Write both files into the folder of a written bundle, the index last; equal taps give equal bytes."""
    from safetensors.numpy import save_file

    save_file(dict(sorted(recorded.tensors.items())), folder / TENSORS)
    (folder / TENSORS).chmod(0o644)  # save_file makes it readable by its owner only
    index = TapIndex(
        TAPS_SCHEMA,
        sha256_of_file(folder / BUNDLE),
        sha256_of_file(folder / TENSORS),
        recorded.cases,
        recorded.taps,
        recorded.too_large,
    )
    (folder / INDEX).write_text(json.dumps(plain_from(index), indent=1, sort_keys=True) + "\n")


def read_taps(folder: Path, reference: Reference) -> Taps:
    """Read and check the taps of a bundle.

    Raises BadInput where there are none, a file is broken, or they belong to another bundle.
    """
    path, tensors = folder / INDEX, folder / TENSORS
    if not path.is_file() or not tensors.is_file():
        raise BadInput(
            f"got no taps in {folder}; expected {INDEX} and {TENSORS}; record the reference with "
            "'edgestep reference ... --taps'"
        )
    index = _read_index(path)
    for what, got, expected in (
        ("for another bundle", index.reference_sha256, reference.index.tensors_sha256),
        ("with other tensors than they list", sha256_of_file(tensors), index.tensors_sha256),
    ):
        if got != expected:
            raise BadInput(f"got taps {what} in {folder} ({got[:12]}); expected {expected[:12]}; record them again")
    _check(folder, index, tensors, reference)
    return Taps(index, tensors)


def _read_index(path: Path) -> TapIndex:
    try:
        raw: Any = json.loads(path.read_text())
        index = from_plain(TapIndex, raw)
    except ValueError as error:
        raise BadInput(f"got {path}, which does not fit ({error}); expected {TAPS_SCHEMA}; record it again") from error
    if index.schema != TAPS_SCHEMA:
        raise BadInput(f"got schema {index.schema!r} in {path}; expected {TAPS_SCHEMA!r}; record it again")
    return index


def _check(folder: Path, index: TapIndex, tensors: Path, reference: Reference) -> None:
    """Raise BadInput where a tap has no tensor, one of another shape, or a case that the bundle has not."""
    from safetensors import SafetensorError, safe_open

    cases = {case.name for case in reference.cases}
    try:
        with safe_open(tensors, framework="numpy") as file:
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise BadInput(
            f"got {tensors}, which cannot be read ({error}); expected safetensors; record it again"
        ) from error
    if not index.cases or not set(index.cases) <= cases:
        raise BadInput(f"got taps of the cases {list(index.cases)} in {folder}; expected some of the bundle's")
    for tap in index.taps:
        if set(tap.sha256) != set(index.cases) or any(shapes.get(sha) != tap.shape for sha in tap.sha256.values()):
            raise BadInput(f"got a tap of {tap.module} without its tensor in {folder}; expected one; record it again")
