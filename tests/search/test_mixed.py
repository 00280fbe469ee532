"""The search on layers whose costs are known in closed form, against trying every assignment."""

from dataclasses import replace
from itertools import product

import pytest

from edgestep.artifact import BadInput
from edgestep.harness.parity.gates import Gate
from edgestep.quantize.bits import solve_bits
from edgestep.quantize.widths import WIDTHS, bytes_of
from edgestep.search.choices import (
    CANDIDATES,
    MEASURED,
    Sited,
    assignment_from,
    candidates_of,
    choice_of,
    choices_from,
    layer_trials,
    predicted_bytes,
    trial_from,
    uniform,
)
from edgestep.search.kept import Kept
from edgestep.search.mixed import (
    Goal,
    Measurer,
    best_within,
    draw_front,
    points_from,
    smallest_passing,
)
from edgestep.search.trials import Figures, Setting, Trial
from edgestep.search.writers import Layer

LAYERS = [Sited("unet", Layer(f"unet.{i}/Conv", (32, 64 * (i + 1), 1, 1))) for i in range(4)]
FRAGILE = {layer.layer.name: weight for layer, weight in zip(LAYERS, (40.0, 1.0, 0.1, 5.0), strict=True)}
GRAPH = 5_000
"""Bytes that no width changes."""


def noise(name: str, width: str) -> float:
    return 0.0 if width == "fp32" else FRAGILE[name] * 4.0 ** -WIDTHS[width].bits


def figures_of(trial: Trial, extra: int = 0) -> Figures:
    """What a trial gives where noises add up: PSNR is their sum in dB, and every changed layer takes `extra` bytes."""
    changed = {change.layer: change.width for change in trial.changes}
    total = sum(noise(name, width) for name, width in changed.items())
    size = GRAPH + sum(bytes_of(each.layer.shape, WIDTHS[changed.get(each.layer.name, "fp32")]) for each in LAYERS)
    from math import log10

    psnr = 200.0 if total == 0 else -10 * log10(total)
    return Figures(psnr, psnr, 1 - total, total, total, size + extra * len(changed))


TABLE = choices_from(LAYERS, [figures_of(trial) for trial in layer_trials(LAYERS)])


@pytest.fixture
def measure(tmp_path) -> Measurer:
    kept = Kept(tmp_path / "trials.jsonl", Setting("a", "k", ("p",), 1, 2))
    return Measurer(LAYERS, kept, lambda trials: ((t, figures_of(t)) for t in trials), lambda _: None)


def every_assignment() -> list[dict[str, str]]:
    return [dict(zip((x.name for x in LAYERS), widths, strict=True)) for widths in product(CANDIDATES, repeat=4)]


def figures_whole(assignment) -> Figures:
    return figures_of(trial_from(LAYERS, assignment))


def test_one_more_bit_quarters_the_forecast_noise():
    for layer, each in zip(LAYERS, TABLE, strict=True):
        for width in MEASURED:
            assert choice_of(each, width).noise == noise(layer.layer.name, width)
        assert choice_of(each, "w5-64").noise == pytest.approx(choice_of(each, "w6-64").noise * 4, rel=0.2)
        assert choice_of(each, "fp32").noise == 0
        noises = [choice.noise for choice in each.choices]
        assert noises == sorted(noises, reverse=True)


def test_a_format_without_a_width_is_offered_the_others():
    assert set(CANDIDATES) - set(candidates_of("openvino")) == {"w5-64"}
    table = choices_from(LAYERS, [figures_of(t) for t in layer_trials(LAYERS)], candidates_of("openvino"))
    assert {choice.bits for each in table for choice in each.choices} == {3, 4, 6, 8, 32}


def test_the_solver_is_as_good_as_trying_all():
    smallest = predicted_bytes(TABLE, uniform(LAYERS, CANDIDATES[0]))
    forecast = {each.name: {w: choice_of(each, w).noise for w in CANDIDATES} for each in TABLE}
    for budget in (smallest, int(1.3 * smallest), 2 * smallest):
        found = assignment_from(solve_bits(TABLE, budget))
        least = min(
            sum(forecast[name][width] for name, width in each.items())
            for each in every_assignment()
            if predicted_bytes(TABLE, each) <= budget
        )
        assert predicted_bytes(TABLE, found) <= budget
        assert sum(forecast[name][width] for name, width in found.items()) <= 2 * least


def test_mixed_within_the_bytes_of_w4_is_better_than_w4(measure):
    alike = figures_whole(uniform(LAYERS, "w4-32"))
    smallest = measure.one("smallest", uniform(LAYERS, CANDIDATES[0]))
    best, _ = best_within(TABLE, alike.bytes, measure, smallest)
    assert best.figures.bytes <= alike.bytes
    assert best.figures.image_psnr_db > alike.image_psnr_db + 2
    possible = max(
        (figures_whole(each) for each in every_assignment() if figures_whole(each).bytes <= alike.bytes),
        key=lambda f: f.image_psnr_db,
    )
    assert best.figures.image_psnr_db > possible.image_psnr_db - 1.5


def test_what_names_and_nodes_take_is_made_room_for(tmp_path):
    """Every changed layer takes 300 bytes more than forecast, float ones none: the first solution is too large."""
    kept = Kept(tmp_path / "trials.jsonl", Setting("a", "k", ("p",), 1, 2))
    table = [
        replace(each, choices=tuple(replace(c, bytes=c.bytes - 300 * (c.bits > 4)) for c in each.choices))
        for each in TABLE
    ]
    measure = Measurer(LAYERS, kept, lambda trials: ((t, figures_of(t)) for t in trials), lambda _: None)
    smallest = measure.one("smallest", uniform(LAYERS, CANDIDATES[0]))
    budget = smallest.figures.bytes + 3_000
    best, repairs = best_within(table, budget, measure, smallest)
    assert best.figures.bytes <= budget
    assert any("over the budget" in line for line in repairs)


def test_a_budget_below_the_smallest_says_the_smallest(measure):
    smallest = measure.one("smallest", uniform(LAYERS, CANDIDATES[0]))
    with pytest.raises(BadInput, match=f"{smallest.figures.bytes:,} or more"):
        best_within(TABLE, smallest.figures.bytes - 1, measure, smallest)


@pytest.mark.parametrize("limit", [15.0, 22.0, 30.0])
def test_the_smallest_that_passes_a_gate_is_nearly_the_smallest_there_is(measure, limit):
    smallest = measure.one("smallest", uniform(LAYERS, CANDIDATES[0]))
    gate = Gate("image_psnr_db", limit)
    best, _ = smallest_passing(TABLE, gate, measure, smallest)
    assert best.figures.image_psnr_db >= limit
    least = min(f.bytes for f in map(figures_whole, every_assignment()) if f.image_psnr_db >= limit)
    assert best.figures.bytes <= 1.1 * least


def test_a_gate_that_the_widest_misses_is_refused(measure):
    smallest = measure.one("smallest", uniform(LAYERS, CANDIDATES[0]))
    with pytest.raises(BadInput, match="ask for less"):
        smallest_passing(TABLE, Gate("image_psnr_db", 90.0), measure, smallest)


def test_the_front_holds_what_nothing_beats(measure):
    smallest = measure.one("smallest", uniform(LAYERS, CANDIDATES[0]))
    best, _ = best_within(TABLE, figures_whole(uniform(LAYERS, "w4-32")).bytes, measure, smallest)
    draw_front(TABLE, measure, smallest)
    points = points_from(measure.found, best)
    front = [point.figures for point in points if not point.dominated]
    assert [f.image_psnr_db for f in front] == sorted(f.image_psnr_db for f in front)
    assert sum(point.chosen for point in points) == 1
    assert {point.uniform for point in points} >= {"w3-64", "w4-32", "w8"}
    for point in points:
        beaten = any(f.bytes <= point.figures.bytes and f.image_psnr_db > point.figures.image_psnr_db for f in front)
        assert point.dominated == beaten


def test_goals_say_what_they_are():
    assert Goal(budget_fraction=0.15).budget(1_000) == 150
    assert Goal(budget_bytes=7).budget(1_000) == 7
    assert Goal(gate="image_psnr_db>=30").budget(1_000) is None
    assert [Goal(budget_fraction=0.15).text, Goal(budget_bytes=7_000).text, Goal(gate="x>=1").text] == [
        "the best in 0.15 of the float graphs' bytes",
        "the best in 7,000 bytes",
        "the smallest with x>=1",
    ]
