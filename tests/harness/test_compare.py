"""What `compare` calls worse, better and not comparable, each with one figure moved by hand."""

import json
import math
from dataclasses import replace

import pytest

from edgestep.artifact import BadInput
from edgestep.harness.ci.compare import compare_results
from edgestep.harness.ci.comparison import Comparison, Margins
from edgestep.harness.ci.comparison_text import markdown_from_comparison, text_from_comparison
from edgestep.harness.plain import plain_from
from edgestep.harness.results import ArtifactResult, GateResult, ParityResult, Results
from tests.harness.made_up import MACHINE, made_artifact, made_latency, made_results


def one(artifact: ArtifactResult, **changes) -> Results:
    return replace(made_results(), artifacts=(artifact,), **changes)


def judged(worst: float, limit: str = ">= 28", passed: bool | None = True, measure: str = "image_psnr_db") -> Results:
    gate = GateResult(measure, worst, limit, "case-02", passed)
    verdict = {True: "passed", False: "failed", None: "undecided"}[passed]
    return one(made_artifact("x86", "w8a8", "split", parity=ParityResult(verdict, (gate,), cases=6)))


def timed(p50: float, half: float = 0.02, results: dict | None = None, **changes) -> Results:
    latency = replace(made_latency(p50), interval_s=(p50 * (1 - half), p50 * (1 + half)), **changes)
    return one(made_artifact("x86", "fp32", "fused", latency=latency), **(results or {}))


def whats(comparison: Comparison) -> tuple[list[str], list[str]]:
    return [change.what for change in comparison.worse], [change.what for change in comparison.better]


def test_equal_results_are_equal():
    comparison = compare_results(made_results(), made_results())
    assert whats(comparison) == ([], []) and comparison.notes == ()
    assert len(comparison.compared) == len(made_results().artifacts) and comparison.added == ()
    assert text_from_comparison(comparison).endswith("11 artifacts compared: no figures worse, none better.")


def test_a_missing_artifact_is_worse_and_a_new_one_is_not():
    whole = made_results()
    less = replace(whole, artifacts=whole.artifacts[1:])
    assert whats(compare_results(whole, less)) == (["artifact"], [])
    assert compare_results(less, whole).added == (whole.artifacts[0].name,)
    assert whats(compare_results(less, whole)) == ([], [])


@pytest.mark.parametrize(
    "before,after,worse,better,noted",
    [
        ("passed", "failed", True, False, False),
        ("passed", "undecided", True, False, False),
        ("passed", "unchecked", True, False, False),
        ("passed", None, True, False, False),
        ("undecided", "failed", True, False, False),
        ("unchecked", "failed", True, False, False),
        ("undecided", "unchecked", False, False, False),
        ("failed", "passed", False, True, False),
        ("unchecked", "passed", False, True, False),
        ("failed", "unchecked", False, False, True),
        ("failed", None, False, False, True),
        (None, None, False, False, False),
    ],
)
def test_verdicts(before, after, worse, better, noted):
    def results(verdict: str | None) -> Results:
        return one(made_artifact("x86", "fp32", "split", parity=ParityResult(verdict) if verdict else None))

    comparison = compare_results(results(before), results(after))
    assert (bool(comparison.worse), bool(comparison.better), bool(comparison.notes)) == (worse, better, noted)


@pytest.mark.parametrize(
    "before,after,worse,better",
    [
        (32.0, 31.2, False, False),  # 20 % of the 4 dB between figure and limit
        (32.0, 30.8, True, False),  # 30 % of them
        (32.0, 33.2, False, True),
        (28.02, 28.0, False, False),  # nearly all of the room, but a hundredth of a decibel
        (113.4, 48.5, False, False),  # both more than 20 dB above the limit
        (113.4, 40.0, True, False),
        (200.0, 89.0, False, False),  # equal pictures, then nearly equal ones
    ],
)
def test_a_figure_that_still_passes(before, after, worse, better):
    comparison = compare_results(judged(before), judged(after))
    assert whats(comparison) == (["image_psnr_db"] * worse, ["image_psnr_db"] * better)


@pytest.mark.parametrize(
    "measure,limit,before,after,worse",
    [
        ("image_ssim", ">= 0.93", 0.957, 0.945, True),
        ("image_ssim", ">= 0.93", 0.957, 0.955, False),
        ("image_ssim", ">= 0.999", 0.9999999, 0.999999, False),
        ("noise_sensitivity", "0.9 .. 1.1", 0.99, 0.95, True),
        ("noise_sensitivity", "0.9 .. 1.1", 0.95, 1.04, False),
        ("x0_sqnr_db", "report", 25.0, 9.0, False),
        ("something_new", "<= 2", 1.0, 1.9, True),
        ("something_new", "<= 1e-05", 1e-6, 2e-6, False),
    ],
)
def test_limits_of_every_kind(measure, limit, before, after, worse):
    old, new = judged(before, limit, measure=measure), judged(after, limit, measure=measure)
    assert whats(compare_results(old, new))[0] == [measure] * worse


@pytest.mark.parametrize("margin,worse", [(0.0, True), (0.5, True), (0.7, False)])
def test_the_gate_margin(margin, worse):
    comparison = compare_results(judged(38.0), judged(32.0), Margins(gate=margin))  # 60 % of the room
    assert bool(comparison.worse) == worse


def test_a_crossed_limit_says_figure_limit_and_case():
    comparison = compare_results(judged(28.01), judged(27.99, passed=False))
    assert whats(comparison) == (["parity", "image_psnr_db"], [])
    gate = comparison.worse[1]
    assert (gate.old_value, gate.new_value) == (28.01, 27.99)
    assert "≥ 28" in gate.reason and "case-02" in gate.reason
    assert whats(compare_results(judged(27.99, passed=False), judged(28.01)))[1] == ["parity", "image_psnr_db"]


def test_what_failed_and_fails_worse_is_worse():
    assert whats(compare_results(judged(26.0, passed=False), judged(12.0, passed=False))) == (["image_psnr_db"], [])
    assert whats(compare_results(judged(26.0, passed=False), judged(math.nan, passed=False)))[0] == ["image_psnr_db"]
    assert whats(compare_results(judged(26.0, passed=False), judged(25.9, passed=False))) == ([], [])


def test_a_loosened_limit_is_worse_and_a_tightened_one_is_not():
    assert "loosened" in compare_results(judged(38.0), judged(38.0, ">= 20")).worse[0].reason
    assert compare_results(judged(38.0), judged(38.0, "report")).worse != ()
    assert compare_results(judged(38.0), judged(38.0, ">= 35")).worse == ()
    inside = judged(1.0, "0.9 .. 1.1", measure="noise_sensitivity")
    assert compare_results(inside, judged(1.0, "0.9 .. 1.2", measure="noise_sensitivity")).worse != ()


def test_a_measure_that_is_no_longer_taken_is_worse():
    two = judged(32.0)
    parity = two.artifacts[0].parity
    assert parity
    more = replace(parity, gates=(*parity.gates, GateResult("image_ssim", 0.99, ">= 0.93", "case-01", True)))
    assert whats(compare_results(one(replace(two.artifacts[0], parity=more)), two)) == (["image_ssim"], [])
    crashed = ParityResult("failed", (), "onnxruntime did not draw it")
    failing = judged(20.0, passed=False)
    assert whats(compare_results(failing, one(replace(two.artifacts[0], parity=crashed))))[0] == ["gates"]


@pytest.mark.parametrize(
    "before,after,half,worse,better",
    [
        (0.010, 0.012, 0.02, True, False),
        (0.010, 0.012, 0.12, False, False),  # the intervals touch
        (0.010, 0.0105, 0.001, False, False),  # disjoint, but within the margin
        (0.012, 0.010, 0.02, False, True),
    ],
)
def test_latency_is_worse_where_the_intervals_are_disjoint(before, after, half, worse, better):
    comparison = compare_results(timed(before, half), timed(after, half))
    assert whats(comparison) == (["p50_s"] * worse, ["p50_s"] * better)


@pytest.mark.parametrize(
    "changes,word",
    [
        ({"kind": "emulated"}, "emulated"),
        ({"threads": 8}, "threads 2 before, 8 now"),
        ({"runtime": "openvino"}, "runtime onnxruntime before, openvino now"),
        ({"machine": replace(MACHINE, processor="Other CPU")}, "Other CPU"),
        ({"machine": replace(MACHINE, flags=("avx2", "avx512f"))}, "avx2+avx512f"),
        ({"results": {"machine": replace(MACHINE, cores=64)}}, "cores 2 before, 64 now"),
        ({"p50_s": math.nan}, "missing"),
    ],
)
def test_latency_that_cannot_be_compared_is_said(changes, word):
    comparison = compare_results(timed(0.010), timed(0.030, **changes))
    assert whats(comparison) == ([], [])
    assert word in text_from_comparison(comparison)


def test_another_kernel_is_the_same_machine():
    updated = {"machine": replace(MACHINE, system="Linux 6.9", python="3.12.1", memory_bytes=1)}
    assert whats(compare_results(timed(0.010), timed(0.030, results=updated)))[0] == ["p50_s"]


def test_a_timing_that_failed_is_worse_and_one_not_asked_for_is_a_note():
    broken = timed(0.01, failure="the worker crashed")
    assert compare_results(timed(0.01), broken).worse[0].reason == "the worker crashed"
    assert whats(compare_results(broken, timed(0.01))) == ([], [])
    untimed = one(made_artifact("x86", "fp32", "fused", latency=None))
    assert whats(compare_results(timed(0.01), untimed)) == ([], [])
    assert "not timed now" in text_from_comparison(compare_results(timed(0.01), untimed))


@pytest.mark.parametrize("size,worse,better", [(1_009_000, 0, 0), (1_011_000, 1, 0), (900_000, 0, 1)])
def test_bytes(size, worse, better):
    before, after = (made_artifact("x86", "fp32", "split", bytes=count) for count in (1_000_000, size))
    assert whats(compare_results(one(before), one(after))) == (["bytes"] * worse, ["bytes"] * better)


def test_fewer_cases_and_another_checkpoint_are_said():
    fewer = judged(32.0)
    parity = fewer.artifacts[0].parity
    assert parity and fewer.checkpoint
    fewer = replace(
        fewer,
        artifacts=(replace(fewer.artifacts[0], parity=replace(parity, cases=2)),),
        checkpoint=replace(fewer.checkpoint, sha256="ef" * 32),
    )
    text = text_from_comparison(compare_results(judged(32.0), fewer))
    assert "2 cases, 6 before" in text and "different checkpoints" in text


def test_bad_input():
    twice = replace(made_results(), artifacts=(made_results().artifacts[0],) * 2)
    with pytest.raises(BadInput, match="twice"):
        compare_results(twice, made_results())
    with pytest.raises(BadInput, match="margin"):
        compare_results(made_results(), made_results(), Margins(size=math.nan))


def test_text_from_data_cannot_break_the_tables():
    name = "a|b\n<script>`x`"
    old, new = (one(made_artifact("x86", "fp32", "split", name=name, bytes=size)) for size in (10_000, 20_000))
    comparison = compare_results(old, new)
    row = next(line for line in markdown_from_comparison(comparison).splitlines() if "script" in line)
    assert r"a\|b \<script\>\`x\`" in row and row.count(" | ") == 4
    assert "10.0 kB" in row and "20.0 kB" in row
    assert sum("script" in line for line in text_from_comparison(comparison).splitlines()) == 1


def test_json_has_no_nan():
    comparison = compare_results(judged(26.0, passed=False), judged(math.nan, passed=False))
    plain = json.loads(json.dumps(plain_from(comparison), allow_nan=False))
    assert plain["schema"] == {"name": "edgestep.comparison", "version": 1}
    assert plain["worse"][0]["new_value"] is None and plain["worse"][0]["old_value"] == 26.0
