"""The plots against the figures they are drawn from: marks are read back from the SVG."""

import math
from dataclasses import replace
from itertools import pairwise
from xml.etree import ElementTree

import pytest

from edgestep.harness.reporting.plots import components_plot, latency_plot, quality_plot, speedup_plot
from edgestep.harness.reporting.summary import best_speedup, rows_from_results
from edgestep.harness.reporting.svg import ticks_of_linear_axis, ticks_of_log_axis
from edgestep.harness.results import GateResult
from tests.harness.made_up import EAGER, TEACHER, made_latency, made_results


def _percent(element, name: str) -> float:
    return float(element.get(name).removesuffix("%"))


def _marks(svg: str, tag: str, kind: str) -> list[ElementTree.Element]:
    return [e for e in ElementTree.fromstring(svg).iter(tag) if kind in (e.get("class") or "").split()]


@pytest.mark.parametrize("low,high", [(0.003, 0.8), (0.01, 0.01), (1.0, 10.0), (0.0099, 0.0101), (2e-6, 300.0)])
def test_log_ticks_cover_the_figures_in_steps_of_one_two_five(low, high):
    ticks = ticks_of_log_axis(low, high)
    assert ticks[0] <= low * (1 + 1e-9) and ticks[-1] >= high * (1 - 1e-9) and len(ticks) >= 2
    for tick in ticks:
        assert round(tick / 10 ** math.floor(math.log10(tick) + 1e-9), 6) in (1, 2, 5)


@pytest.mark.parametrize("low,high", [(0, 23.0), (0, 3400.0), (24.0, 97.0), (5.0, 5.0), (-3.0, 40.0)])
def test_linear_ticks_cover_the_figures_evenly(low, high):
    ticks = ticks_of_linear_axis(low, high)
    assert ticks[0] <= low + 1e-9 and ticks[-1] >= high - 1e-9 and len(ticks) <= 8
    gaps = [b - a for a, b in pairwise(ticks)]
    assert all(gap == pytest.approx(gaps[0]) for gap in gaps)


def test_latency_is_drawn_on_a_log_axis_with_the_baselines():
    results = made_results()
    svg = latency_plot(results, rows_from_results(results))
    dots = _marks(svg, "circle", "dot")
    names = ["".join(e.itertext()) for e in _marks(svg, "text", "name")]
    assert len(dots) == 10 + 2 and EAGER in names and TEACHER in names
    assert len(_marks(svg, "circle", "failed")) == 1 and len(_marks(svg, "circle", "baseline")) == 2
    seconds = sorted([a.latency.p50_s for a in results.artifacts if a.latency] + [0.0432, 1.437])
    places = [_percent(dot, "cx") for dot in dots]
    assert places == sorted(places)
    slope = (places[-1] - places[0]) / math.log(seconds[-1] / seconds[0])
    for place, second in zip(places, seconds, strict=True):
        assert place == pytest.approx(places[0] + slope * math.log(second / seconds[0]), abs=0.05)


def test_a_range_ends_at_the_90th_percentile():
    results = made_results()
    fast = replace(results.artifacts[0], latency=replace(made_latency(0.01), p90_s=0.1))
    slow = replace(results.artifacts[1], latency=replace(made_latency(0.1), p90_s=0.1))
    results = replace(results, artifacts=(fast, slow), baselines=())
    svg = latency_plot(results, rows_from_results(results))
    first = _marks(svg, "rect", "range")[0]
    place = _percent(_marks(svg, "circle", "dot")[1], "cx")
    assert _percent(first, "x") + _percent(first, "width") == pytest.approx(place, abs=0.05)


def test_speed_up_is_drawn_to_scale():
    results = made_results()
    best = best_speedup(results, rows_from_results(results))
    assert best is not None
    teacher, step = _marks(speedup_plot(best), "rect", "bar")
    assert _percent(teacher, "width") / _percent(step, "width") == pytest.approx(best.ratio, rel=0.02)


def test_times_beside_a_speed_up_are_those_of_its_own_run():
    results = made_results()
    ratios = [replace(r, ratio=80.0, interval=(78.0, 82.0), of_s=0.02, over_s=1.6) for r in results.ratios]
    results = replace(results, ratios=tuple(ratios))
    best = best_speedup(results, rows_from_results(results))
    assert best is not None
    times = ["".join(t.itertext()) for t in _marks(speedup_plot(best), "text", "value")]
    assert times == ["1.60 s", "20.0 ms"]


def test_a_speed_up_of_an_older_report_has_no_times():
    results = made_results()
    ratios = tuple(replace(r, of_s=math.nan, over_s=math.nan) for r in results.ratios)
    results = replace(results, ratios=ratios)
    best = best_speedup(results, rows_from_results(results))
    assert best is not None and "nan" not in speedup_plot(best)


def test_shares_fill_the_bar_in_the_order_of_running():
    results = made_results()
    svg = components_plot(results, rows_from_results(results))
    parts = _marks(svg, "rect", "part")
    # Five split artifacts that were timed and PyTorch eager; the fused are one graph.
    assert len(parts) == 6 * 4
    first = parts[:4]
    assert [p.get("class") for p in first] == [f"part part-{i}" for i in range(4)]
    assert [round(_percent(p, "width")) for p in first] == [11, 42, 43, 4]
    assert sum(_percent(p, "width") for p in first) == pytest.approx(100, abs=0.05)


def test_quality_is_drawn_with_every_gate_and_the_failed_below_its_own():
    results = made_results()
    svg = quality_plot(rows_from_results(results))
    gates = {"".join(t.itertext()) for t in _marks(svg, "text", "gate-name")}
    assert gates == {"gate of fp32: ≥ 60", "gate of fp16: ≥ 40", "gate of w8a8: ≥ 28"}
    lines = [float(line.get("y1")) for line in _marks(svg, "line", "gate")]
    (failed,) = _marks(svg, "circle", "failed")
    assert float(failed.get("cy")) > max(lines)
    assert len(_marks(svg, "circle", "passed")) == 9
    assert all(float(dot.get("cy")) < max(lines) for dot in _marks(svg, "circle", "passed"))
    numbers = ", ".join("".join(t.itertext()) for t in _marks(svg, "text", "number"))
    assert sorted(map(int, numbers.split(", "))) == list(range(1, 11))


@pytest.mark.parametrize("worst,drawn", [(math.nan, 0), (math.inf, 1), (200.0, 1), (-math.inf, 0), (-3.5, 1)])
def test_a_quality_that_is_no_number(worst, drawn):
    artifact = made_results().artifacts[0]
    gate = GateResult("image_psnr_db", worst, "report", "", None)
    artifact = replace(artifact, parity=replace(artifact.parity, gates=(gate,)))
    svg = quality_plot(rows_from_results(replace(made_results(), artifacts=(artifact,))))
    assert (len(_marks(svg, "circle", "dot")) if svg else 0) == drawn
    assert "nan" not in svg and "inf" not in svg


@pytest.mark.parametrize("bad", [math.nan, math.inf, 0.0, -1.0])
def test_a_latency_that_is_no_duration_is_left_out(bad):
    results = made_results()
    broken = replace(results.artifacts[0], latency=made_latency(bad, split=True))
    results = replace(results, artifacts=(broken, *results.artifacts[1:]))
    rows = rows_from_results(results)
    assert len(_marks(latency_plot(results, rows), "circle", "dot")) == 11
    assert "nan" not in latency_plot(results, rows) + components_plot(results, rows)


def test_nothing_measured_draws_nothing():
    results = replace(made_results(), artifacts=(), baselines=())
    assert (latency_plot(results, ()), components_plot(results, ()), quality_plot(())) == ("", "", "")


def test_each_plot_has_a_title_and_a_description():
    results = made_results()
    rows = rows_from_results(results)
    for svg in (latency_plot(results, rows), components_plot(results, rows), quality_plot(rows)):
        root = ElementTree.fromstring(svg)
        told = {e.get("id"): e.text for e in root if e.tag in ("title", "desc")}
        assert root.get("role") == "img" and set(root.get("aria-labelledby").split()) == set(told)
        assert all(told.values())
