"""Arrays of one weight.bin -> another weight.bin, copied record by record: no weight is ever in memory as a whole."""

import hashlib
import mmap
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from edgestep.artifact import BadInput
from edgestep.mlpackage.layout import ALIGNMENT, HEADER, RECORD, SENTINEL, VERSION


class WeightSource:
    """A weight.bin that is read, mapped; a file that is not there has no arrays."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._bytes = np.zeros(0, np.uint8)
        if path.is_file() and path.stat().st_size:
            with path.open("rb") as file:
                self._bytes = np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), np.uint8)

    def record(self, offset: int) -> np.ndarray:
        """Return what stands before the array at that offset; raise BadInput where no array lies there."""
        if 0 <= offset <= self._bytes.size - RECORD.itemsize:
            record = np.frombuffer(self._bytes, RECORD, 1, offset)[0]
            if record["sentinel"] == SENTINEL and int(record["offset"]) + int(record["bytes"]) <= self._bytes.size:
                return record
        raise BadInput(f"got no array at offset {offset} of {self.path}; expected one; export the package again")

    def size(self, offset: int) -> int:
        """Return the array's size in bytes."""
        return int(self.record(offset)["bytes"])

    def data(self, offset: int) -> np.ndarray:
        """Return the array's bytes, a view of the file."""
        record = self.record(offset)
        return self._bytes[int(record["offset"]) : int(record["offset"]) + int(record["bytes"])]


class WeightWriter:
    """Writes a weight.bin; equal arrays of equal type are written once. A context manager; `path` must be new."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.bytes = 0
        self._written: dict[tuple[int, int, bytes], int] = {}

    def __enter__(self) -> Self:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self.path.open("wb")
        self._file.write(bytes(HEADER.itemsize))
        return self

    def copy(self, source: WeightSource, offset: int) -> int:
        """Append an array of another file, unless it is here; return its offset in this one."""
        record, data = source.record(offset).copy(), source.data(offset)
        key = (int(record["type"]), data.size, hashlib.sha256(data.data).digest())
        if key not in self._written:
            start = self._file.tell() + (-self._file.tell() % ALIGNMENT)
            record["offset"] = start + RECORD.itemsize
            self._file.write(bytes(start - self._file.tell()))
            self._file.write(record.tobytes())
            self._file.write(data.data)
            self._written[key] = start
            self.bytes += data.size
        return self._written[key]

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        header = np.zeros(1, HEADER)
        header["count"], header["version"] = len(self._written), VERSION
        with self._file:
            self._file.seek(0)
            self._file.write(header.tobytes())
        if not self._written:
            self.path.unlink()
