"""Good artifacts pass every time: a small version of benchmarks/false_alarms.py, and its own arithmetic."""

from dataclasses import replace

import pytest
from benchmarks import false_alarms


@pytest.fixture(scope="module")
def replays(split_folder, fused_folder, reference):
    return false_alarms.replay([split_folder, fused_folder], reference, 6)


def test_no_alarm_on_any_number_of_threads(replays):
    assert {(one.name, one.threads) for one in replays} == {(n, t) for n in ("split", "fused") for t in (1, 2, None)}
    assert [one.result.verdict for one in replays] == ["passed"] * 6, [one.result.reason for one in replays]
    assert "0 false alarms in 6 replays" in false_alarms.summary_of(replays)


def test_an_alarm_is_counted(replays):
    failed = replace(replays[0], result=replace(replays[0].result, verdict="undecided"))
    summary = false_alarms.summary_of([failed, *replays[1:]])
    assert "1 false alarms in 6 replays" in summary
    assert "split                     3 replays, 1 failed" in summary
