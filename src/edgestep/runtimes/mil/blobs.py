"""weight.bin -> numpy arrays, mapped and not read, every offset checked against the file.

coremltools' own reader gives the same bytes, and trusts the offsets.
"""

import math
import mmap
from pathlib import Path

import numpy as np

from edgestep.artifact import BadInput, inside
from edgestep.mlpackage.layout import MODEL_PATH, RECORD, SENTINEL
from edgestep.runtimes.mil.types import DataType, unpacked


class Blobs:
    """The weight files of one package; `folder` is what @model_path stands for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._maps: dict[str, np.ndarray] = {}

    def read(self, name: str, offset: int, data_type: DataType, shape: tuple[int, ...]) -> np.ndarray:
        """Return the array of that type and shape at `offset` of file `name`, a view of the file from 8 bits on.

        Raises BadInput where there is no such file, or the array does not lie in it.
        """
        data = self._map(name)
        count = math.prod(shape)
        if min(shape, default=0) < 0:
            raise self._refused(name, f"a weight of the open shape {list(shape)}")
        if offset < 0 or offset + RECORD.itemsize > data.size:
            raise self._refused(name, f"an offset of {offset}")
        record = np.frombuffer(data, RECORD, 1, offset)[0]
        start, size = int(record["offset"]), int(record["bytes"])
        if record["sentinel"] != SENTINEL or start + size > data.size:
            raise self._refused(name, f"a weight at {offset} of {size} bytes")
        needed = (count * data_type.bits + 7) // 8
        if size < needed:
            raise self._refused(name, f"a weight at {offset} of {size} bytes, {needed} wanted")
        raw = data[start : start + needed]
        values = raw.view(data_type.file) if data_type.file else unpacked(raw, data_type, count)
        return values.reshape(shape)

    def _map(self, name: str) -> np.ndarray:
        if name not in self._maps:
            path = inside(self._folder, name.removeprefix(MODEL_PATH))
            if not path.is_file() or path.stat().st_size < RECORD.itemsize:
                raise BadInput(f"got no weights at {path}; expected the package's weight file; copy the package again")
            with path.open("rb") as file:
                self._maps[name] = np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), np.uint8)
        return self._maps[name]

    def _refused(self, name: str, what: str) -> BadInput:
        size = self._maps[name].size
        return BadInput(
            f"got {what} in {name} of {size} bytes; expected one inside it: the file is truncated, or not of this "
            "package; copy the package again"
        )
