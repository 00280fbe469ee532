"""A budget of bytes, or a gate -> the width of each layer's weights: solved on sensitivities, measured whole, repaired.

What single layers cost is only a forecast of what they cost together, so every assignment that counts is written and
drawn as a whole: its bytes and pictures decide.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from edgestep.artifact import Artifact, BadInput, tool_versions
from edgestep.harness.figures import measure_name
from edgestep.harness.machine import machine_here
from edgestep.harness.parity.gate_overrides import gate_from_text
from edgestep.harness.parity.gates import IMAGE_PSNR, IMAGE_SSIM, X0_SQNR, Gate
from edgestep.quantize.bits import solve_bits
from edgestep.quantize.coreml.sensitivity import Sensitivity
from edgestep.quantize.quantizers import Options
from edgestep.quantize.run import quantize
from edgestep.search.bench import Bench, graph_bytes
from edgestep.search.choices import (
    CANDIDATES,
    MEASURED,
    Assignment,
    Sited,
    assignment_from,
    candidates_of,
    choice_of,
    choices_from,
    layer_trials,
    predicted_bytes,
    trial_from,
    uniform,
    width_of,
)
from edgestep.search.kept import Kept, Run, run_kept
from edgestep.search.results import MixedReport, Point
from edgestep.search.runners import runner
from edgestep.search.sensitivity import (
    TRIALS,
    Request,
    checked_artifact,
    layers_of,
    setting_from,
    stays_float,
)
from edgestep.search.trials import Figures

CASES = 64
"""Pictures that a whole assignment is measured on."""
CALIBRATION = 48
"""Samples that whole assignments are calibrated on while they are held against each other."""
WRITTEN = 256
"""Samples that the artifact is calibrated on, as many as w4's: on the bundled generator 3 to 4 dB more than on 48."""
NARROWEST, WIDEST = CANDIDATES[0], CANDIDATES[-2]
UNIFORM = ("w4-32", "w8")
"""Widths for all layers alike, which mixed is held against."""
ATTEMPTS = 6
"""How often an assignment that missed its budget is solved again."""
POLISH = 4
"""Moves that are tried on an assignment within its budget."""
HALVINGS = 6
"""Steps of the search for the smallest assignment that passes a gate."""
FRONT = 4
"""Points of the front beside what the goal needs."""
GATES = (Gate(X0_SQNR), Gate(IMAGE_PSNR), Gate(IMAGE_SSIM))
"""Measures that a gate may be on."""


@dataclass(frozen=True)
class Goal:
    """What mixed is to reach, one of the three: the graphs' bytes at most, those over the float graphs', or a gate."""

    budget_bytes: int | None = None
    budget_fraction: float | None = None
    gate: str | None = None

    def budget(self, float_bytes: int) -> int | None:
        """Return the budget in bytes, None where the goal is a gate."""
        if self.budget_fraction is not None:
            return int(self.budget_fraction * float_bytes)
        return self.budget_bytes

    @property
    def text(self) -> str:
        """Return the goal in words."""
        if self.gate is not None:
            return f"the smallest with {self.gate}"
        if self.budget_fraction is not None:
            return f"the best in {self.budget_fraction:g} of the float graphs' bytes"
        return f"the best in {self.budget_bytes:,} bytes"


@dataclass(frozen=True)
class Measured:
    """An assignment, what to call it, and its figures."""

    name: str
    assignment: Assignment
    figures: Figures
    budget: int = 0


class Measurer:
    """Measures whole assignments, each once, and remembers them; `figures` come from the file where it holds them."""

    def __init__(self, layers: Sequence[Sited], kept: Kept, run: Run, tell: Callable[[str], None]) -> None:
        self.layers, self._kept, self._run, self._tell = layers, kept, run, tell
        self.found: list[Measured] = []

    def __call__(self, assignments: Sequence[tuple[str, Assignment, int]]) -> list[Measured]:
        """Measure (name, assignment, budget) of each."""
        trials = [trial_from(self.layers, assignment) for _, assignment, _ in assignments]
        figures = run_kept(trials, self._kept, self._run)
        made = [Measured(n, a, f, b) for (n, a, b), f in zip(assignments, figures, strict=True)]
        for each in made:
            f = each.figures
            self._tell(f"{each.name}: {f.bytes:,} bytes, worst image PSNR {f.image_psnr_db:.2f} dB")
        self.found += made
        return made

    def one(self, name: str, assignment: Assignment, budget: int = 0) -> Measured:
        """Measure one."""
        return self([(name, assignment, budget)])[0]


def search_mixed(request: Request, goal: Goal, out: Path, tell: Callable[[str], None] = lambda _: None) -> MixedReport:
    """Search the widths for a goal; finished trials are kept in `out`/trials.jsonl, and not run again.

    `request.cases` and `.calibration` are those of the trials of one layer. Raises BadInput as `measure_sensitivity`
    does, for a budget below the smallest possible, and for a gate that the widest do not pass.
    """
    start = time.monotonic()
    artifact = checked_artifact(replace(request, widths=MEASURED))
    gate = gate_from_text(goal.gate, GATES) if goal.gate is not None else None
    layers = weights_of(request.artifact, artifact)
    table = _measured_alone(request, artifact, layers, out, tell)
    float_bytes = graph_bytes(artifact)
    with _measurer(request, artifact, layers, out, CALIBRATION, tell) as measure:
        smallest = measure.one(f"{NARROWEST} for all", uniform(layers, NARROWEST))
        if gate is not None:
            chosen, repairs = smallest_passing(table, gate, measure, smallest)
        else:
            chosen, repairs = best_within(table, goal.budget(float_bytes) or 0, measure, smallest)
        draw_front(table, measure, smallest)
    keeps = _keeps(gate, goal.budget(float_bytes))
    written, calibration = as_written(request, artifact, layers, out, chosen, keeps, tell)
    return MixedReport(
        machine=machine_here(),
        tools=tool_versions("onnx", "onnxruntime", "openvino", "nncf", "numpy"),
        artifact=artifact.name,
        artifact_key=artifact.key,
        goal=goal.text,
        cases=CASES,
        prompts=len(request.prompts),
        calibration=calibration,
        seconds=time.monotonic() - start,
        float_bytes=float_bytes,
        smallest_bytes=smallest.figures.bytes,
        points=points_from([*measure.found, *written], written[-1]),
        widths=dict(chosen.assignment),
        repairs=repairs,
    )


def write_mixed(
    request: Request, report: MixedReport, out: Path, tell: Callable[[str], None] = lambda _: None
) -> Artifact:
    """Write the artifact that a search chose to `out`: the graphs that were measured, byte by byte."""
    artifact = checked_artifact(replace(request, widths=MEASURED))
    widths: dict[str, dict[str, str]] = {component.file: {} for component in artifact.components}
    for name, width in report.widths.items():
        component, _, layer = name.partition("/")
        widths[artifact.component(component).file][layer] = width
    setting = setting_from(replace(request, cases=1, calibration=report.calibration), artifact)
    with Bench(setting) as bench:
        feeds, options = bench.feeds, Options(widths=widths)
        return quantize(request.artifact, scheme="mixed", out=out, feeds=feeds, options=options, tell=tell)


def weights_of(folder: Path, artifact: Artifact) -> list[Sited]:
    """Return the layers whose weights may be at another width, in the order of the graphs."""
    found = layers_of(folder, artifact, (NARROWEST,))
    return [Sited(component, layer) for component, _, layer in found if not stays_float(layer.name, NARROWEST)]


def _measured_alone(
    request: Request, artifact: Artifact, layers: Sequence[Sited], out: Path, tell: Callable[[str], None]
) -> tuple[Sensitivity, ...]:
    setting, trials = setting_from(request, artifact), layer_trials(layers)
    kept, candidates = Kept(out / TRIALS, setting), candidates_of(artifact.format)
    tell(f"mixed: {len(trials)} trials of one layer each, {request.cases} cases")
    if all(kept.get(trial) is not None for trial in trials):
        return choices_from(layers, run_kept(trials, kept, lambda _: iter(()), tell), candidates)
    with runner(setting, request.ray, tell) as run:
        return choices_from(layers, run_kept(trials, kept, run, tell), candidates)


@contextmanager
def _measurer(
    request: Request,
    artifact: Artifact,
    layers: Sequence[Sited],
    out: Path,
    calibration: int,
    tell: Callable[[str], None],
) -> Iterator[Measurer]:
    setting = setting_from(replace(request, cases=CASES, calibration=calibration), artifact)
    tell(f"mixed: whole assignments, {CASES} cases, calibrated on {calibration} samples")
    with runner(setting, request.ray, tell) as run:
        yield Measurer(layers, Kept(out / TRIALS, setting), run, tell)


def as_written(
    request: Request,
    artifact: Artifact,
    layers: Sequence[Sited],
    out: Path,
    chosen: Measured,
    keeps: Callable[[Measured], bool],
    tell: Callable[[str], None],
) -> tuple[list[Measured], int]:
    """Return the chosen assignment as it is to be written, last, and its number of calibration samples.

    On more samples, where the goal is kept so and the pictures are no worse; before it then what it is held against, on
    as many.
    """
    with _measurer(request, artifact, layers, out, WRITTEN, tell) as measure:
        more = measure.one(chosen.name, chosen.assignment, chosen.budget)
        if not keeps(more) or _better(chosen, more):
            return [chosen], CALIBRATION
        measure([(f"{w} for all", uniform(layers, w), 0) for w in UNIFORM])
        return [*measure.found, more], WRITTEN


def _keeps(gate: Gate | None, budget: int | None) -> Callable[[Measured], bool]:
    """Return what tells whether an assignment is within the goal."""
    if gate is not None:
        return lambda measured: passes(gate, measured)
    return lambda measured: measured.figures.bytes <= (budget or 0)


def best_within(
    table: Sequence[Sensitivity], budget: int, measure: Measurer, smallest: Measured
) -> tuple[Measured, tuple[str, ...]]:
    """Return the best assignment of at most `budget` bytes that was found, and what was repaired on the way."""
    if smallest.figures.bytes > budget:
        raise BadInput(
            f"got a budget of {budget:,} bytes; expected {smallest.figures.bytes:,} or more, all layers at "
            f"{NARROWEST}; allow more bytes"
        )
    best, repairs = _fitted(table, budget, measure, smallest)
    for each in measure([(f"{w} for all", uniform(measure.layers, w), 0) for w in UNIFORM]):
        if each.figures.bytes <= budget and _better(each, best):
            repairs = (*repairs, f"{each.name} was better than what was solved, and is gone on from")
            best = replace(each, name="mixed", budget=budget)
    for number in range(POLISH):
        moved = _moved(table, best, budget, number)
        if moved is None:
            break
        tried = measure.one(f"moved {number + 1}", moved, budget)
        if tried.figures.bytes <= budget and _better(tried, best):
            gain = tried.figures.image_psnr_db - best.figures.image_psnr_db
            repairs, best = (*repairs, f"a move of bits gained {gain:.2f} dB"), tried
    return best, repairs


def _better(one: Measured, other: Measured) -> bool:
    """Return whether the worst picture of `one` is better; NaN never is."""
    return one.figures.image_psnr_db > other.figures.image_psnr_db


def _fitted(
    table: Sequence[Sensitivity], budget: int, measure: Measurer, smallest: Measured
) -> tuple[Measured, tuple[str, ...]]:
    """Return the solved assignment that really takes at most `budget` bytes."""
    room = budget - (smallest.figures.bytes - predicted_bytes(table, smallest.assignment))
    repairs: tuple[str, ...] = ()
    for _ in range(ATTEMPTS):
        found = measure.one("mixed", solved(table, room), budget)
        over = found.figures.bytes - budget
        if over <= 0:
            return found, repairs
        repairs = (*repairs, f"{over:,} bytes over the budget, solved again with less")
        room = max(room - over, predicted_bytes(table, smallest.assignment))
    return replace(smallest, budget=budget), (*repairs, f"{smallest.name} is what fits")


def solved(table: Sequence[Sensitivity], room: int) -> dict[str, str]:
    """Return the assignment of least noise whose numbers and scales take at most `room` bytes."""
    return assignment_from(solve_bits(table, room))


def _moved(table: Sequence[Sensitivity], best: Measured, budget: int, number: int) -> dict[str, str] | None:
    """Return the assignment with one more step up for the layer that gains most, paid for where it costs least.

    `number` chooses among the layers that gain: the best, the second, … None where there is none or nothing pays.
    """
    assignment = dict(best.assignment)
    ups = sorted(_steps(table, assignment, 1), key=lambda step: -step.gain)
    if number >= len(ups):
        return None
    up = ups[number]
    assignment[up.layer] = up.width
    spare = budget - best.figures.bytes - up.bytes
    # Of a step down both numbers are negative: first those that cost the least noise a byte.
    for step in sorted(_steps(table, assignment, -1), key=lambda step: step.gain / step.bytes):
        if spare >= 0:
            break
        if step.layer != up.layer:
            assignment[step.layer] = step.width
            spare -= step.bytes
    return assignment if spare >= 0 else None


@dataclass(frozen=True)
class _Step:
    """A layer at the next width: the noise that it takes away, and the bytes that it adds; negative for a step down."""

    layer: str
    width: str
    gain: float
    bytes: int


def _steps(table: Sequence[Sensitivity], assignment: Assignment, by: int) -> list[_Step]:
    """Return each layer's step to the next width, up (1) or down (-1), where there is one."""
    steps = []
    for layer in table:
        here = choice_of(layer, assignment[layer.name])
        place = layer.choices.index(here) + by
        if 0 <= place < len(layer.choices):
            there = layer.choices[place]
            steps.append(_Step(layer.name, width_of(there), here.noise - there.noise, there.bytes - here.bytes))
    return steps


def smallest_passing(
    table: Sequence[Sensitivity], gate: Gate, measure: Measurer, smallest: Measured
) -> tuple[Measured, tuple[str, ...]]:
    """Return the smallest assignment found that passes the gate: halving between the narrowest and the widest."""
    measure([(f"{w} for all", uniform(measure.layers, w), 0) for w in UNIFORM])
    widest = next(each for each in measure.found if each.name == f"{WIDEST} for all")
    if passes(gate, smallest):
        return smallest, ()
    if not passes(gate, widest):
        raise BadInput(
            f"got the gate {measure_name(gate.measure)} {gate.limit}; expected one that {WIDEST} for all layers "
            f"passes, which has {getattr(widest.figures, gate.measure):.2f}; ask for less, or take w8a8 or fp16"
        )
    low, high = predicted_bytes(table, smallest.assignment), predicted_bytes(table, widest.assignment)
    best, missed = widest, 0
    for _ in range(HALVINGS):
        room = (low + high) // 2
        found = measure.one(_within_text(room, table, smallest), solved(table, room), room)
        if passes(gate, found):
            high = room
            best = min(best, found, key=lambda each: each.figures.bytes)
        else:
            low, missed = room, missed + 1
    return best, (f"{missed} of {HALVINGS} assignments missed the gate and were given more bytes",) if missed else ()


def passes(gate: Gate, measured: Measured) -> bool:
    """Return whether the worst case is within the limit; NaN never is."""
    return gate.passes(getattr(measured.figures, gate.measure))


def draw_front(table: Sequence[Sensitivity], measure: Measurer, smallest: Measured) -> None:
    """Measure assignments of some budgets between the narrowest and the widest: the front of bytes and quality."""
    low = predicted_bytes(table, smallest.assignment)
    high = predicted_bytes(table, uniform(measure.layers, WIDEST))
    rooms = [int(low * (high / low) ** ((i + 1) / (FRONT + 1))) for i in range(FRONT)]
    measure([(_within_text(room, table, smallest), solved(table, room), room) for room in rooms])


def _within_text(room: int, table: Sequence[Sensitivity], smallest: Measured) -> str:
    """Return what to call the solution for a room: by the bytes that its graphs are forecast to take at most."""
    rest = smallest.figures.bytes - predicted_bytes(table, smallest.assignment)
    return f"mixed, {(room + rest) / 1e6:.2f} MB"


def points_from(found: Sequence[Measured], chosen: Measured) -> tuple[Point, ...]:
    """Return what was measured, each assignment once, the smallest first."""
    once = {tuple(sorted(each.assignment.items())): each for each in found}
    widths = {key: {width for _, width in key} for key in once}
    mine = tuple(sorted(chosen.assignment.items()))
    points = [
        Point(
            name=each.name,
            budget_bytes=each.budget,
            figures=each.figures,
            uniform=next(iter(widths[key])) if len(widths[key]) == 1 else "",
            chosen=key == mine,
            dominated=any(_dominates(other.figures, each.figures) for other in once.values()),
        )
        for key, each in once.items()
    ]
    return tuple(sorted(points, key=lambda point: (point.figures.bytes, point.name)))


def _dominates(one: Figures, other: Figures) -> bool:
    better = one.image_psnr_db > other.image_psnr_db and one.bytes <= other.bytes
    return better or (one.image_psnr_db == other.image_psnr_db and one.bytes < other.bytes)
