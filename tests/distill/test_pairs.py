"""The teacher's pairs: its deterministic path, in blocks that a killed run keeps, shared out by number."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from edgestep.distill import pairs as room
from edgestep.distill.data.open_data import open_data
from edgestep.distill.folders import Parts
from edgestep.distill.pairs import draw_pairs
from edgestep.distill.workers import Workers
from tests.distill.schedules import ddim
from tests.distill.toys import DMD

CONFIG = replace(DMD, pairs=10, pair_steps=3, guidance=2.5, batch=3)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(room, "BLOCK", 4)


def test_pairs_are_the_ends_of_diffusers_guided_ddim(tmp_path: Path, parts: Parts, rows: Path, workers: Workers):
    data = open_data(rows)
    found = draw_pairs(tmp_path, parts.teacher, data, CONFIG, workers)
    assert [len(part) for part in (found.noise, found.input_ids, found.x0)] == [10, 10, 10]
    known = {tuple(ids) for ids in data.take(torch.arange(len(data)))[1].tolist()}
    assert {tuple(ids) for ids in found.input_ids.tolist()} <= known

    scheduler = ddim("epsilon")
    scheduler.set_timesteps(3)
    x = found.noise
    embeds, null = parts.teacher.embeds(found.input_ids), parts.teacher.null().expand(10, -1, -1)
    with torch.no_grad():
        for t in scheduler.timesteps:
            without, full = (parts.teacher.unet(x, t, e).sample for e in (null, embeds))
            x = scheduler.step(without + 2.5 * (full - without), t, x).prev_sample
    torch.testing.assert_close(found.x0, x, atol=1e-3, rtol=1e-3)


def test_blocks_that_are_there_stay(tmp_path: Path, parts: Parts, rows: Path, workers: Workers):
    data = open_data(rows)
    whole = draw_pairs(tmp_path, parts.teacher, data, CONFIG, workers)
    stamps = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "pairs").iterdir()}
    (tmp_path / "pairs" / "00001.safetensors").unlink()
    again = draw_pairs(tmp_path, parts.teacher, data, CONFIG, workers)
    assert torch.equal(whole.x0, again.x0)
    now = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "pairs").iterdir()}
    assert sorted(now) == [f"{i:05d}.safetensors" for i in range(3)]
    assert {name for name in now if now[name] != stamps[name]} == {"00001.safetensors"}


def test_every_block_is_somebodys_though_one_is_ahead(tmp_path: Path, parts: Parts, rows: Path):
    """The first of two has drawn all of its blocks before the second one looks at what is missing."""
    data = open_data(rows)

    def one_of_two(rank: int) -> Any:
        return SimpleNamespace(rank=rank, count=2, is_main=False, device=torch.device("cpu"), wait=lambda: None)

    with pytest.raises(FileNotFoundError):  # the second one's block: nobody waits here
        draw_pairs(tmp_path, parts.teacher, data, CONFIG, one_of_two(0))
    assert len(draw_pairs(tmp_path, parts.teacher, data, CONFIG, one_of_two(1)).x0) == 10


def test_drawn_pairs_belong_together(tmp_path: Path, parts: Parts, rows: Path, workers: Workers):
    found = draw_pairs(tmp_path, parts.teacher, open_data(rows), CONFIG, workers)
    noise, ids, x0 = found.draw(50, torch.Generator().manual_seed(0))
    assert (noise.shape, ids.shape, x0.shape) == ((50, 4, 8, 8), (50, 16), (50, 4, 8, 8))
    for one in range(50):
        (place,) = {i for i in range(10) if torch.equal(noise[one], found.noise[i])}
        assert torch.equal(ids[one], found.input_ids[place])
        assert torch.equal(x0[one], found.x0[place])
