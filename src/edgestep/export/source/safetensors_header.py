"""A .safetensors file -> the names, types and shapes of its tensors, read from the header alone."""

import json
import math
import struct
from dataclasses import dataclass
from pathlib import Path

from edgestep.artifact import BadInput

BYTES_OF = {"F64": 8, "I64": 8, "F32": 4, "I32": 4, "F16": 2, "BF16": 2, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}
"""safetensors type name -> bytes of one element, for the types that a checkpoint has."""
LONGEST_HEADER = 100_000_000


@dataclass(frozen=True)
class Weight:
    """One tensor of a file: `Weight("conv_in.weight", "F16", (320, 4, 3, 3), 1024)`; `offset` is in bytes from 0."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    offset: int

    @property
    def elements(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)


def read_header(path: Path) -> tuple[Weight, ...]:
    """Return what the file holds, sorted by name; no weight is read.

    Layout: 8 bytes little-endian length, a JSON header of that length, the data. Raises BadInput where the file is
    missing, the header is none, or the data is shorter or longer than the header says: a download that broke off.
    """
    if not path.is_file():
        raise BadInput(f"got no file at {path}; expected the component's weights; download the checkpoint again")
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(struct.pack("8s", file.read(8)), "little")
        if not 2 <= length <= min(size - 8, LONGEST_HEADER):
            raise _broken(path, f"a header of {length} bytes in a file of {size}")
        raw = file.read(length)
    try:
        entries = {name: entry for name, entry in json.loads(raw).items() if name != "__metadata__"}
        weights = tuple(
            Weight(n, e["dtype"], tuple(e["shape"]), 8 + length + int(e["data_offsets"][0]))
            for n, e in sorted(entries.items())
        )
        ends = [(int(e["data_offsets"][0]), int(e["data_offsets"][1])) for _, e in sorted(entries.items())]
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise _broken(path, f"a header that is not one ({error})") from error
    _check_lengths(path, weights, ends, size - 8 - length)
    return weights


def _check_lengths(path: Path, weights: tuple[Weight, ...], ends: list[tuple[int, int]], data: int) -> None:
    expected = max((end for _, end in ends), default=0)
    if data != expected:
        raise _broken(path, f"{data} bytes of weights where its header lists {expected}")
    for weight, (start, end) in zip(weights, ends, strict=True):
        if weight.dtype in BYTES_OF and end - start != weight.elements * BYTES_OF[weight.dtype]:
            raise _broken(path, f"{end - start} bytes for {weight.name} of shape {weight.shape}")


def _broken(path: Path, got: str) -> BadInput:
    return BadInput(f"got {got} in {path}; expected a whole .safetensors file; download or copy it again")
