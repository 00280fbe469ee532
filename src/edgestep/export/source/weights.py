"""Weights that are read one at a time: name -> LazyWeight. Nothing here imports torch.

A model of ten gigabytes is exported on a laptop because only one of its tensors is in memory at any moment. Whatever
changes a weight (a LoRA, a folded time embedding) wraps its `read` and runs when that weight is written.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgestep.artifact import BadInput
from edgestep.export.source.safetensors_header import Weight, read_header

NUMPY_TYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I64": "<i8", "I32": "<i4", "U8": "u1"}


@dataclass(frozen=True)
class LazyWeight:
    """`read()` returns the tensor as float32 numpy of `shape`, anew each time; raises BadInput where it is not finite.

    `origin` names the file, for messages. `key` is equal for two weights that read the same bytes.
    """

    name: str
    shape: tuple[int, ...]
    read: Callable[[], np.ndarray]
    origin: str = ""
    key: str = ""


Weights = Mapping[str, LazyWeight]
"""Name of a tensor, as in the module's state dict -> how to read it."""


def weights_from_safetensors(paths: tuple[Path, ...]) -> dict[str, LazyWeight]:
    """Return the weights of one file or of all shards; only headers are read now.

    Raises BadInput for a truncated or broken file, and for a tensor of a type that no checkpoint has.
    """
    found: dict[str, LazyWeight] = {}
    for path in paths:
        for weight in read_header(path):
            found[weight.name] = _lazy(path, weight)
    return found


def _lazy(path: Path, weight: Weight) -> LazyWeight:
    if weight.dtype not in NUMPY_TYPES:
        raise BadInput(f"got {weight.name} of type {weight.dtype} in {path}; expected F16, BF16 or F32; convert it")
    return LazyWeight(weight.name, weight.shape, lambda: _read(path, weight), str(path), f"{path}:{weight.name}")


def _read(path: Path, weight: Weight) -> np.ndarray:
    array = float32_from_raw(path, weight.name, weight.dtype, weight.offset, weight.elements).reshape(weight.shape)
    check_finite(array, weight.name, str(path))
    return array


def float32_from_raw(path: Path, name: str, dtype: str, offset: int, elements: int) -> np.ndarray:
    """Read numbers of a type of NUMPY_TYPES from a place in a file: float32 [elements]."""
    # Not mmapped: pages that were touched would count as this process's memory until they are evicted.
    try:
        array = np.fromfile(path, NUMPY_TYPES[dtype], count=elements, offset=offset)
    except OSError as error:
        raise BadInput(f"got {path}, which cannot be read ({error.strerror}) at {name}; copy it again") from error
    if array.size != elements:
        raise BadInput(f"got {path} cut short while it was read at {name}; copy or download it again")
    if dtype == "BF16":
        array = (array.astype(np.uint32) << 16).view(np.float32)
    return array.astype(np.float32, copy=False)


def check_finite(array: np.ndarray, name: str, origin: str) -> None:
    """Raise BadInput that names the weight where a number is NaN or infinite."""
    # One pass without a mask of the tensor's size: a sum of finite float32 in float64 stays finite.
    if array.size and not np.isfinite(array.sum(dtype=np.float64)):
        raise BadInput(
            f"got numbers that are not finite in {name} of {origin}; expected finite weights; download again"
        )
