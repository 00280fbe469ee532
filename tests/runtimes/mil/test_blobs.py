"""weight.bin against coremltools' own writer and reader, for every type; files that do not hold what they say."""

import re
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from coremltools.libmilstoragepython import _BlobStorageReader, _BlobStorageWriter
from hypothesis import given
from hypothesis import strategies as st

from edgestep.artifact import BadInput
from edgestep.mlpackage.layout import RECORD
from edgestep.runtimes.mil.blobs import Blobs
from edgestep.runtimes.mil.types import NAMES, unpacked
from tests.runtimes.mil.built import quick

WHOLE = ("int8", "uint8", "int16", "uint16", "int32", "uint32")
PACKED = ("int4", "uint1", "uint2", "uint3", "uint4", "uint6")
FLOATS = {"fp32": ("float", np.float32, np.float32), "fp16": ("fp16", np.float16, np.uint16)}
"""MIL's name -> coremltools' word for it, numpy's type, and the type that its methods take."""


def _range(name: str) -> tuple[int, int]:
    bits = NAMES[name].bits
    return (-(1 << bits - 1), (1 << bits - 1) - 1) if name.startswith("int") else (0, (1 << bits) - 1)


def _arrays(name: str) -> st.SearchStrategy[np.ndarray]:
    held = np.dtype(name) if name in WHOLE else np.dtype("int8" if name == "int4" else "uint8")
    return st.lists(st.integers(*_range(name)), min_size=1, max_size=40).map(lambda v: np.array(v, held))


@pytest.mark.parametrize("name", [*WHOLE, *PACKED])
@given(data=st.data())
@quick
def test_integers_are_what_coremltools_wrote_and_reads(name, data):
    arrays = [data.draw(_arrays(name)) for _ in range(2)]
    with TemporaryDirectory() as folder:
        path = f"{folder}/w.bin"
        writer = _BlobStorageWriter(path)
        offsets = [getattr(writer, f"write_{name}_data")(array) for array in arrays]
        del writer  # which closes the file
        for offset, array in zip(offsets, arrays, strict=True):
            got = Blobs(Path(folder)).read("@model_path/w.bin", offset, NAMES[name], array.shape)
            theirs = getattr(_BlobStorageReader(path), f"read_{name}_data")(offset)
            assert got.dtype == array.dtype
            assert got.tolist() == array.tolist()
            assert got.tobytes() == np.asarray(theirs).tobytes()


@pytest.mark.parametrize("name", FLOATS)
def test_floats_are_what_coremltools_wrote_and_reads(name, tmp_path):
    word, kind, given_as = FLOATS[name]
    array = np.array([0, -0.0, 1.5, -65504, np.inf, -np.inf, np.nan], kind)
    writer = _BlobStorageWriter(str(tmp_path / "w.bin"))
    offset = getattr(writer, f"write_{word}_data")(array.view(given_as))
    del writer
    got = Blobs(tmp_path).read("@model_path/w.bin", offset, NAMES[name], array.shape)
    theirs = getattr(_BlobStorageReader(str(tmp_path / "w.bin")), f"read_{word}_data")(offset)
    assert got.dtype == kind and got.tobytes() == array.tobytes() == np.asarray(theirs).tobytes()


@pytest.mark.parametrize("name", PACKED)
def test_packed_bits_are_laid_lowest_first(name):
    bits = NAMES[name].bits
    low, high = _range(name)
    values = np.arange(low, high + 1)
    word = sum((int(value) & ((1 << bits) - 1)) << (i * bits) for i, value in enumerate(values))
    packed = np.frombuffer(word.to_bytes((len(values) * bits + 7) // 8, "little"), np.uint8)
    assert unpacked(packed, NAMES[name], len(values)).tolist() == values.tolist()


@pytest.fixture
def weights(tmp_path):
    """A file of one array of 100 float32, and its offset."""
    writer = _BlobStorageWriter(str(tmp_path / "w.bin"))
    offset = writer.write_float_data(np.arange(100, dtype=np.float32))
    del writer
    return tmp_path / "w.bin", offset


def _refused(path, offset, shape, line):
    with pytest.raises(BadInput, match=re.escape(line)) as refused:
        Blobs(path.parent).read(f"@model_path/{path.name}", offset, NAMES["fp32"], shape)
    assert "\n" not in str(refused.value)


def test_a_truncated_file_is_one_line(weights):
    path, offset = weights
    path.write_bytes(path.read_bytes()[: offset + RECORD.itemsize + 200])
    _refused(path, offset, (100,), f"got a weight at {offset} of 400 bytes in @model_path/w.bin of")


def test_an_offset_outside_the_file_is_one_line(weights):
    path, _ = weights
    for offset in (10**6, -64):
        _refused(path, offset, (100,), f"got an offset of {offset} in @model_path/w.bin of")


def test_an_offset_that_is_no_arrays_is_one_line(weights):
    path, offset = weights
    _refused(path, offset + 64, (10,), f"got a weight at {offset + 64} of")


def test_more_numbers_than_the_file_has_of_a_weight_is_one_line(weights):
    path, offset = weights
    _refused(path, offset, (101,), f"got a weight at {offset} of 400 bytes, 404 wanted")
    _refused(path, offset, (-1,), "got a weight of the open shape [-1]")


def test_a_file_that_is_not_there_or_empty_is_one_line(weights, tmp_path):
    path, offset = weights
    _refused(tmp_path / "none.bin", offset, (1,), f"got no weights at {tmp_path / 'none.bin'}")
    path.write_bytes(b"")
    _refused(path, offset, (1,), f"got no weights at {path}")


@pytest.mark.parametrize("name", ["@model_path/../w.bin", "/etc/passwd", "@model_path/weights/../../w.bin"])
def test_a_file_outside_the_package_is_one_line(name, weights):
    path, offset = weights
    inner = path.parent / "inner"
    inner.mkdir()
    with pytest.raises(BadInput, match="expected one that stays inside the folder"):
        Blobs(inner).read(name, offset, NAMES["fp32"], (1,))


def test_a_link_out_of_the_package_is_one_line(weights):
    path, offset = weights
    inner = path.parent / "inner"
    inner.mkdir()
    (inner / "w.bin").symlink_to(path)
    with pytest.raises(BadInput, match=r"got a link at .* that leaves the folder"):
        Blobs(inner).read("@model_path/w.bin", offset, NAMES["fp32"], (1,))
