"""The lines that single commands print."""

import pytest

from edgestep.harness.reporting.lines import text_from_latency, text_from_parity, text_from_ratio
from edgestep.harness.results import GateResult, LatencyResult, ParityResult, Ratio

LATENCY = LatencyResult("real", 0.1, 0.02, 0.00701, 0.008, 0.009, (0.0069, 0.0073), threads=2)


def test_latency_tells_median_interval_and_kind():
    line = text_from_latency(LATENCY)
    assert line.startswith("real, load 100 ms, first 20.0 ms, p50 7.01 ms (6.90 ms – 7.30 ms)")
    assert "2 threads" in line


def test_a_failure_tells_no_figure():
    assert text_from_latency(LatencyResult("real", failure="killed")) == "not timed: killed"
    ratio = Ratio("a against b", "a", "b", float("nan"), (float("nan"), float("nan")), failure="killed")
    assert text_from_ratio(ratio) == "a against b: not compared: killed"


def test_ratio_tells_which_is_faster():
    assert text_from_ratio(Ratio("n", "a", "b", 2.0, (1.9, 2.1))).startswith("a is 2.00× as fast as b (1.90–2.10×")


@pytest.mark.parametrize(("passed", "mark"), [(True, "ok"), (False, "FAIL"), (None, "--")])
def test_parity_marks_every_gate(passed: bool | None, mark: str):
    gate = GateResult("image_psnr_db", 31.5, ">= 28", "case-02", passed)
    first, second = text_from_parity(ParityResult("failed", (gate,), reason="one gate")).splitlines()
    assert first == "failed: one gate"
    assert second.startswith(mark)
    assert second.endswith("case-02")
    assert "31.5 dB" in second
