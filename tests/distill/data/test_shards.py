"""Rows -> shards -> rows: what is written is read, at constant memory, also after a kill."""

import json
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from edgestep.artifact import BadInput
from edgestep.distill.data.about import DataInfo
from edgestep.distill.data.latent_data import check_data
from edgestep.distill.data.open_data import open_data
from edgestep.distill.data.shard_files import Block, Skipped
from edgestep.distill.data.shards import write_shards

INFO = DataInfo((2, 3, 3), 0.5, 4, tokenizer_sha256="abc", source_sha256="def")
COUNT = 10
LATENTS = torch.randn(COUNT, 2, 3, 3, generator=torch.Generator().manual_seed(0)).half()
IDS = torch.arange(COUNT * 4, dtype=torch.int64).reshape(COUNT, 4)


def block(items: range, leave_out: frozenset[int] = frozenset()) -> Block:
    kept = [i for i in items if i not in leave_out]
    skipped = tuple(Skipped(f"{i}.png", "torn") for i in items if i in leave_out)
    return Block(LATENTS[kept], IDS[kept], tuple(f"prompt {i} é" for i in kept), skipped, truncated=len(items) % 2)


def bytes_in(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_rows_come_back_in_any_order(tmp_path: Path):
    write_shards(tmp_path / "data", INFO, COUNT, block, shard_rows=3)
    data = open_data(tmp_path / "data")
    assert (len(data), data.latent_shape, data.prompt_tokens) == (COUNT, (2, 3, 3), 4)
    assert (data.tokenizer_sha256, data.latent_scale) == ("abc", 0.5)
    index = torch.tensor([9, 0, 3, 3, 7, 2, 9])
    latents, ids = data.take(index)
    assert latents.dtype == torch.float32
    assert ids.dtype == torch.int64
    assert torch.equal(latents, LATENTS[index].float())
    assert torch.equal(ids, IDS[index])
    assert data.texts(index) == [f"prompt {i} é" for i in index.tolist()]
    assert data.take(index[:0])[0].shape == (0, 2, 3, 3)
    for wrong in ([10], [-1]):
        with pytest.raises(IndexError):
            data.take(torch.tensor(wrong))


def test_skipped_items_leave_no_row_and_are_listed(tmp_path: Path):
    leave_out = frozenset({0, 4, 5, 6, 7})  # the second shard of four becomes empty
    told = write_shards(tmp_path / "data", INFO, COUNT, lambda items: block(items, leave_out), shard_rows=4)
    assert told["rows"] == [3, 0, 2]
    assert [s["file"] for s in told["skipped"]] == ["0.png", "4.png", "5.png", "6.png", "7.png"]
    data = open_data(tmp_path / "data")
    assert torch.equal(data.take(torch.arange(5))[0], LATENTS[[1, 2, 3, 8, 9]].float())


def test_a_shard_is_what_safetensors_reads(tmp_path: Path):
    write_shards(tmp_path, INFO, COUNT, block, shard_rows=6)
    read = load_file(tmp_path / "shard-00001.safetensors")
    assert torch.equal(read["latents"], LATENTS[6:])
    assert read["input_ids"].dtype == torch.int32
    assert torch.equal(read["input_ids"], IDS[6:].int())


def test_killed_and_run_again_ends_with_the_same_bytes(tmp_path: Path):
    write_shards(tmp_path / "whole", INFO, COUNT, block, shard_rows=2)
    made: list[int] = []

    def dying(items: range) -> Block:
        if items.start == 6:
            raise KeyboardInterrupt
        made.append(items.start)
        return block(items)

    with pytest.raises(KeyboardInterrupt):
        write_shards(tmp_path / "data", INFO, COUNT, dying, shard_rows=2)
    with pytest.raises(BadInput, match="unfinished data"):
        open_data(tmp_path / "data")
    (tmp_path / "data" / ".shard-00003.safetensors.partial-1").write_text("what a killed run leaves")
    torn = tmp_path / "data" / "shard-00001.safetensors"
    torn.write_bytes(torn.read_bytes()[:-7])
    again: list[int] = []

    def counted(items: range) -> Block:
        again.append(items.start)
        return block(items)

    write_shards(tmp_path / "data", INFO, COUNT, counted, shard_rows=2)
    assert made == [0, 2, 4]
    assert again == [2, 6, 8]  # the torn shard too
    assert bytes_in(tmp_path / "data") == bytes_in(tmp_path / "whole")


def test_processes_share_the_shards(tmp_path: Path):
    """Two of them, as threads that wait for each other where `Workers` would."""
    write_shards(tmp_path / "alone", INFO, COUNT, block, shard_rows=2)
    barrier, made = threading.Barrier(2, timeout=20), {0: [], 1: []}

    def work(rank: int) -> dict[str, Any]:
        workers: Any = SimpleNamespace(is_main=rank == 0, rank=rank, count=2, wait=barrier.wait)

        def make(items: range) -> Block:
            made[rank].append(items.start)
            return block(items)

        return write_shards(tmp_path / "two", INFO, COUNT, make, shard_rows=2, workers=workers)

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(work, (0, 1))
    assert first == second
    assert made == {0: [0, 4, 8], 1: [2, 6]}
    assert bytes_in(tmp_path / "two") == bytes_in(tmp_path / "alone")


def test_a_finished_folder_is_not_made_again(tmp_path: Path):
    told = write_shards(tmp_path, INFO, COUNT, block, shard_rows=4)
    assert told == json.loads((tmp_path / "data.json").read_text())

    def never(items: range) -> Block:
        raise AssertionError(items)

    assert write_shards(tmp_path, INFO, COUNT, never, shard_rows=4) == told


def test_a_folder_of_other_data_is_refused(tmp_path: Path):
    write_shards(tmp_path / "data", INFO, COUNT, block, shard_rows=4)
    with pytest.raises(BadInput, match="another source_sha256"):
        write_shards(tmp_path / "data", DataInfo((2, 3, 3), 0.5, 4, "abc", "other"), COUNT, block, shard_rows=4)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "diary.txt").write_text("dear diary")
    with pytest.raises(BadInput, match="holds other files"):
        write_shards(tmp_path / "mine", INFO, COUNT, block)


def test_rows_that_do_not_fit_are_refused(tmp_path: Path):
    def huge(items: range) -> Block:
        return Block(torch.full((COUNT, 2, 3, 3), 1e6), IDS, tuple("x" * COUNT))

    with pytest.raises(BadInput, match="not finite in float16"):
        write_shards(tmp_path / "huge", INFO, COUNT, huge)
    with pytest.raises(BadInput, match="got rows of"):
        write_shards(tmp_path / "shape", DataInfo((2, 3, 4), 0.5, 4), COUNT, block)
    with pytest.raises(BadInput, match=r"no row out of 10 items, 10 skipped.*0\.png, torn"):
        write_shards(tmp_path / "none", INFO, COUNT, lambda items: block(items, frozenset(items)))


@pytest.mark.parametrize("keep", [0, 5, 60, -1])
def test_a_torn_shard_is_told(tmp_path: Path, keep: int):
    write_shards(tmp_path, INFO, COUNT, block)
    path = tmp_path / "shard-00000.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(BadInput, match=r"broken shard .*shard-00000"):
        open_data(tmp_path)


def test_shards_that_data_json_does_not_tell_of_are_refused(tmp_path: Path):
    write_shards(tmp_path, INFO, COUNT, block)
    about = json.loads((tmp_path / "data.json").read_text())
    (tmp_path / "data.json").write_text(json.dumps({**about, "rows": [COUNT + 1]}))
    with pytest.raises(BadInput, match="expected 11 of"):
        open_data(tmp_path)
    (tmp_path / "data.json").write_text(json.dumps({**about, "schema": "x/9"}))
    with pytest.raises(BadInput, match="schema 'x/9'"):
        open_data(tmp_path)
    (tmp_path / "data.json").write_text("{")
    with pytest.raises(BadInput, match=r"broken .*data\.json"):
        open_data(tmp_path)


def test_folders_of_nothing_or_of_two_kinds_are_refused(tmp_path: Path):
    with pytest.raises(BadInput, match="got none of them"):
        open_data(tmp_path)
    write_shards(tmp_path, INFO, COUNT, block)
    (tmp_path / "more.tar").write_bytes(b"")
    with pytest.raises(BadInput, match=r"got shards \(data.json\) and webdataset"):
        open_data(tmp_path)


def test_data_of_another_teacher_is_refused(tmp_path: Path):
    write_shards(tmp_path, INFO, COUNT, block)
    data = open_data(tmp_path)
    check_data(data, latent_shape=(2, 3, 3), prompt_tokens=4, tokenizer_sha256="abc", latent_scale=0.5)
    check_data(data, latent_shape=(2, 3, 3), prompt_tokens=4)
    with pytest.raises(BadInput, match="shape"):
        check_data(data, latent_shape=(4, 3, 3), prompt_tokens=4)
    with pytest.raises(BadInput, match="length 4; expected 77"):
        check_data(data, latent_shape=(2, 3, 3), prompt_tokens=77)
    with pytest.raises(BadInput, match="tokenizer abc"):
        check_data(data, latent_shape=(2, 3, 3), prompt_tokens=4, tokenizer_sha256="other")
    with pytest.raises(BadInput, match=r"scale 0\.5"):
        check_data(data, latent_shape=(2, 3, 3), prompt_tokens=4, latent_scale=1.0)


READER = """
import sys
from pathlib import Path
import torch
from edgestep.distill.data.batches import batch_index
from edgestep.distill.data.open_data import open_data

def anonymous():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))

data = open_data(Path(sys.argv[1]))
for step in range(3):
    data.take(batch_index(len(data), 64, step, seed=0))
before, total = anonymous(), 0.0
for step in range(len(data) // 64):
    total += float(data.take(batch_index(len(data), 64, step, seed=0))[0].sum())
print(anonymous() - before, total)
"""


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="memory is read from Linux's /proc")
def test_an_epoch_over_large_data_takes_no_memory(tmp_path: Path):
    """100 MB of latents are read through; the process's own memory must not grow by a tenth of them."""
    count, info = 3072, DataInfo((4, 64, 64), 1.0, 4)

    def ones(items: range) -> Block:
        size = len(items)
        return Block(torch.ones(size, 4, 64, 64).half(), torch.zeros(size, 4).long(), ("",) * size)

    write_shards(tmp_path, info, count, ones, shard_rows=1024)
    assert sum(path.stat().st_size for path in tmp_path.glob("*.safetensors")) > 100_000_000
    done = subprocess.run(
        [sys.executable, "-c", READER, str(tmp_path)], check=True, capture_output=True, text=True, timeout=120
    )
    grown, total = done.stdout.split()
    assert float(total) == count * np.prod(info.latent_shape)
    assert int(grown) < 10_000, f"grew by {grown} kB"
