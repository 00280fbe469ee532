"""Parquet -> rows, a row group at a time."""

import builtins
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

from edgestep.artifact import BadInput
from edgestep.distill.data import parquet
from edgestep.distill.data.open_data import open_data
from tests.distill.data.test_webdataset import READER, letters

SHAPE = (2, 3, 4)
LATENTS = np.random.default_rng(0).standard_normal((11, *SHAPE)).astype(np.float16)
TEXTS = [f"p{i}" for i in range(11)]


def fixed(latents: np.ndarray) -> Any:
    return pa.FixedSizeListArray.from_arrays(pa.array(latents.reshape(-1)), latents[0].size)


def nested(latents: np.ndarray) -> Any:
    column = pa.array(latents.reshape(-1))
    for size in reversed(latents.shape[1:]):
        column = pa.FixedSizeListArray.from_arrays(column, size)
    return column


def binary(latents: np.ndarray) -> Any:
    return pa.array([latent.tobytes() for latent in latents], pa.binary())


def single(latents: np.ndarray) -> Any:
    return fixed(latents.astype(np.float32))


def write(path: Path, latent: Any, texts: list[Any], shape: Any = SHAPE, rows: int = 3) -> None:
    table = pa.table({"latent": latent, "prompt": texts})
    metadata = {} if shape is None else {"latent_shape": json.dumps(shape)}
    pq.write_table(table.replace_schema_metadata(metadata), path, row_group_size=rows)


@pytest.mark.parametrize("column", [fixed, nested, binary, single])
def test_rows_come_back_in_any_order(tmp_path: Path, column: Any):
    shape = None if column is nested else SHAPE
    write(tmp_path / "a.parquet", column(LATENTS[:7]), TEXTS[:7], shape)
    write(tmp_path / "b.parquet", column(LATENTS[7:]), TEXTS[7:], shape)
    data = open_data(tmp_path, letters)
    assert (len(data), data.latent_shape, data.prompt_tokens) == (11, SHAPE, 4)
    index = torch.tensor([10, 0, 6, 7, 3, 3])
    latents, ids = data.take(index)
    assert latents.dtype == torch.float32
    assert torch.equal(latents, torch.from_numpy(LATENTS[index.numpy()]).float())
    assert data.texts(index) == [TEXTS[i] for i in index.tolist()]
    assert torch.equal(ids, letters([TEXTS[i] for i in index.tolist()]))


def test_a_few_row_groups_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write(tmp_path / "a.parquet", fixed(LATENTS), TEXTS, rows=1)
    read: list[int] = []
    plain = parquet.ParquetData._read

    def counted(self: Any, number: int) -> Any:
        read.append(number)
        return plain(self, number)

    monkeypatch.setattr(parquet.ParquetData, "_read", counted)
    data = open_data(tmp_path, letters)
    data.take(torch.tensor([0, 1, 0, 1]))
    data.take(torch.tensor([1, 0]))
    assert read == [0, 1]
    data.take(torch.arange(11))
    data.take(torch.tensor([10, 9, 8, 7]))
    assert read == [0, 1, *range(2, 11)]  # of all groups, the last four are still there
    data.take(torch.tensor([0]))
    assert read[-1] == 0


def test_bad_files_are_told(tmp_path: Path):
    path = tmp_path / "a.parquet"

    def refused(told: str) -> None:
        with pytest.raises(BadInput, match=told):
            data = open_data(tmp_path, letters)
            data.take(torch.arange(len(data)))

    path.write_bytes(b"PAR1 not quite PAR1")
    refused(r"broken .*a\.parquet")
    pq.write_table(pa.table({"latent": fixed(LATENTS)}), path)
    refused("without prompt")
    write(path, fixed(LATENTS), TEXTS, shape=None)
    refused("does not tell the latents' shape")
    write(path, fixed(LATENTS), TEXTS, shape=[2, 3, "x"])
    refused("does not tell the latents' shape")
    write(path, fixed(LATENTS), TEXTS, shape=[2, 3, 5])
    refused("with 30 numbers")
    write(path, fixed(LATENTS.astype(np.float64)), TEXTS)
    refused("latent column of fixed_size_list<element: double>")
    write(path, pa.array([[1.0], [2.0]]), TEXTS[:2])
    refused("latent column of list<")
    write(path, binary(LATENTS[:, :1]), TEXTS)
    refused("row group 0 of .* lack a latent")
    write(path, fixed(LATENTS), [*TEXTS[:-1], None])
    refused("row group 3 of .* lack a latent or a prompt")
    write(path, pa.array([None, LATENTS[1].tobytes()], pa.binary()), TEXTS[:2])
    refused("lack a latent")
    write(path, pa.array([None, LATENTS[1].reshape(-1).tolist()], pa.list_(pa.float32(), 24)), TEXTS[:2])
    refused("lack a latent")
    write(path, fixed(np.where(np.arange(11)[:, None, None, None] == 4, np.float16("inf"), LATENTS)), TEXTS)
    refused("not finite in row 4")
    write(path, binary(LATENTS[:0]), [])
    refused("got no row")


def test_files_of_two_shapes_are_told(tmp_path: Path):
    write(tmp_path / "a.parquet", binary(LATENTS), TEXTS)
    write(tmp_path / "b.parquet", binary(LATENTS[:, :1]), TEXTS, shape=(1, 3, 4))
    with pytest.raises(BadInput, match=r"\(2, 3, 4\) and \(1, 3, 4\)"):
        open_data(tmp_path, letters)


def test_without_pyarrow_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write(tmp_path / "a.parquet", binary(LATENTS), TEXTS)
    plain = builtins.__import__

    def missing(name: str, *rest: Any, **more: Any) -> Any:
        if name.startswith("pyarrow"):
            raise ImportError(name)
        return plain(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(BadInput, match=r"edgestep\[parquet\]"):
        open_data(tmp_path, letters)


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="memory is read from Linux's /proc")
def test_an_epoch_takes_no_memory(tmp_path: Path):
    """64 MB of latents in row groups of 2 MB: a few of these, not all, may be there at once."""
    rng = np.random.default_rng(0)
    large = [rng.bytes(4 * 64 * 64 * 2) for _ in range(64)]
    latent = pa.array([(np.frombuffer(row, np.uint16) & 0x3BFF).tobytes() for row in large] * 32)
    write(tmp_path / "a.parquet", latent, ["x"] * 2048, shape=(4, 64, 64), rows=64)
    done = subprocess.run(
        [sys.executable, "-c", READER, str(tmp_path)], check=True, capture_output=True, text=True, timeout=120
    )
    assert int(done.stdout) < 32_000, f"grew by {done.stdout} kB"
