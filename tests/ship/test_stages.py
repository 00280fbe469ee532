"""Finished stages are kept by key, unfinished and changed ones are done again, foreign folders are left alone."""

import json
from pathlib import Path

import pytest

from edgestep.artifact import BadInput
from edgestep.harness.results import ParityResult
from edgestep.ship.stages import Stages


def counting(value: object):
    calls = []

    def make():
        calls.append(1)
        return value

    return make, calls


def test_a_result_is_made_once_per_key(tmp_path: Path):
    told: list[str] = []
    make, calls = counting(ParityResult("passed", reason="all"))
    for key in ("a", "a", "b"):
        result = Stages(tmp_path / "out", told.append).kept("parity", key, ParityResult, make)
        assert result == ParityResult("passed", reason="all")
    assert len(calls) == 2
    assert told == ["parity: kept from the last run (same inputs)"]


def test_a_broken_result_is_made_again(tmp_path: Path):
    make, calls = counting("x")
    stages = Stages(tmp_path / "out", lambda _: None)
    stages.kept("one", "key", str, make)
    (tmp_path / "out" / "stages" / "one.json").write_text('{"key": "key"')
    assert stages.kept("one", "key", str, make) == "x"
    assert len(calls) == 2


def test_a_stage_that_fails_keeps_nothing(tmp_path: Path):
    stages = Stages(tmp_path / "out", lambda _: None)

    def fail() -> str:
        raise BadInput("no")

    with pytest.raises(BadInput, match="no"):
        stages.kept("one", "key", str, fail)
    make, calls = counting("x")
    assert stages.kept("one", "key", str, make) == "x"
    assert len(calls) == 1


def test_a_folder_that_is_not_ours_is_left_alone(tmp_path: Path):
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(BadInput, match="not empty"):
        Stages(tmp_path, lambda _: None)
    assert [p.name for p in tmp_path.iterdir()] == ["letter.txt"]


def test_an_earlier_ship_is_gone_on_with(tmp_path: Path):
    Stages(tmp_path / "out", lambda _: None)
    Stages(tmp_path / "out", lambda _: None)
    assert json.loads((tmp_path / "out" / "ship.json").read_text())["schema"] == "edgestep.ship/1"
