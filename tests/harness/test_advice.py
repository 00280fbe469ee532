"""What the report recommends is what passed and was timed, and INT8 is not called faster where it is not."""

from dataclasses import replace

from edgestep.harness.reporting.advice import advice_from_rows
from edgestep.harness.reporting.summary import rows_from_results
from edgestep.harness.results import Ratio, Results
from tests.harness.made_up import made_latency, made_parity, made_results


def _advice(results: Results) -> dict[str, str]:
    lines = advice_from_rows(results, rows_from_results(results))
    return {line.partition(":")[0]: line for line in lines}


def _with(results: Results, name: str, **changes) -> Results:
    return replace(results, artifacts=tuple(replace(a, **changes) if a.name == name else a for a in results.artifacts))


def test_the_fastest_that_passed_is_taken():
    results = _with(made_results(), "emoji-x86-fp16-split", latency=made_latency(0.0011))
    assert "take fp16 split, 1.10 ms" in _advice(results)["x86"]
    failed = _with(results, "emoji-x86-fp16-split", parity=made_parity("fp16", psnr=3.0))
    assert "take fp16 split" not in _advice(failed)["x86"]


def test_int8_that_is_slower_is_said_to_be():
    results = made_results()
    of, over = "emoji-x86-w8a8-split", "emoji-x86-fp32-split"
    for interval, word in (
        ((0.7, 0.9), "slower than"),
        ((1.1, 1.3), "faster than"),
        ((0.9, 1.1), "no faster and no slower"),
    ):
        ratio = Ratio("w8a8", of, over, sum(interval) / 2, interval, 7)
        line = _advice(replace(results, ratios=(ratio,)))["x86"]
        assert f"w8a8 split is {word}" in line and f"({ratio.ratio:.2f} times the speed" in line
    assert "times the speed" not in _advice(replace(results, ratios=(replace(ratio, failure="it crashed"),)))["x86"]


def test_without_the_device_no_time_is_claimed_and_where_nothing_passed_nothing_is_recommended():
    results = _with(made_results(), "emoji-mac-fp16-split", parity=made_parity("fp16"))
    assert "no time is claimed without the device; the smallest that passed is fp16 split" in _advice(results)["mac"]
    assert _advice(made_results())["mac"] == "mac: nothing passed its gates, so nothing is recommended."
