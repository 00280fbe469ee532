"""Finished trials on disk: a run that was stopped goes on, and a line that was cut short is done again."""

import pytest

from edgestep.artifact import BadInput
from edgestep.search.kept import Kept, run_kept
from edgestep.search.trials import (
    Change,
    Figures,
    Setting,
    Trial,
    figures_from_json,
    json_from,
    setting_from_json,
    trial_from_json,
)

SETTING = Setting("somewhere", "key", ("a", "b"), 8, 8)
TRIALS = [Trial((Change("unet", f"unet.{i}", "w8"),)) for i in range(4)]


def figures(i: int) -> Figures:
    return Figures(10.0 + i / 3, 20 + 0.1 * i, 0.9, 1e-3 / (i + 1), 1e-5, i)


def run_of(done: list[Trial]):
    """Return what runs trials, noting each in `done`, in reverse order."""

    def run(trials):
        for trial in reversed(trials):
            done.append(trial)
            yield trial, figures(TRIALS.index(trial))

    return run


def test_a_stopped_run_goes_on_where_it_was(tmp_path):
    file = tmp_path / "deep" / "trials.jsonl"
    expected = [figures(i) for i in range(4)]
    run_kept(TRIALS[:2], Kept(file, SETTING), run_of([]))
    with file.open("a") as cut:
        cut.write('{"key": "abc", "figu')
    done: list[Trial] = []
    told: list[str] = []
    assert run_kept(TRIALS, Kept(file, SETTING), run_of(done), told.append) == expected
    assert sorted(done, key=TRIALS.index) == TRIALS[2:]
    assert told[0] == "2 of 4 trials are finished already"
    again: list[Trial] = []
    assert run_kept(TRIALS, Kept(file, SETTING), run_of(again)) == expected
    assert not again
    assert len(file.read_text().splitlines()) == 4


def test_another_artifact_and_other_cases_share_nothing(tmp_path):
    file = tmp_path / "trials.jsonl"
    run_kept(TRIALS, Kept(file, SETTING), run_of([]))
    for other in (
        Setting("somewhere", "other", ("a", "b"), 8, 8),
        Setting("somewhere", "key", ("a",), 8, 8),
        Setting("somewhere", "key", ("a", "b"), 9, 8),
        Setting("somewhere", "key", ("a", "b"), 8, 9),
    ):
        assert Kept(file, other).get(TRIALS[0]) is None
    assert Kept(file, Setting("elsewhere", "key", ("a", "b"), 8, 8)).get(TRIALS[0]) == figures(0)


@pytest.mark.parametrize("line", ["[]", "{}", '{"key": "a", "figures": {"bytes": "x"}}', "no"])
def test_a_file_of_something_else_is_refused(tmp_path, line):
    file = tmp_path / "trials.jsonl"
    file.write_text(f"{line}\n")
    with pytest.raises(BadInput, match="line 1"):
        Kept(file, SETTING)


def test_a_folder_in_its_place_is_refused(tmp_path):
    (tmp_path / "trials.jsonl").mkdir()
    with pytest.raises(BadInput, match="cannot be used"):
        Kept(tmp_path / "trials.jsonl", SETTING)


def test_what_travels_is_the_same_after_it():
    assert setting_from_json(json_from(SETTING)) == SETTING
    assert trial_from_json(json_from(TRIALS[1])) == TRIALS[1]
    assert figures_from_json(json_from(figures(1))) == figures(1)


def test_the_order_of_changes_does_not_name_a_trial():
    changes = (Change("a", "x", "w8"), Change("b", "y", "w4-32"))
    assert Trial(changes).key(SETTING) == Trial(changes[::-1]).key(SETTING)
    assert Trial(changes).key(SETTING) != Trial(changes[:1]).key(SETTING)
