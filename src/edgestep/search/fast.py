"""A latency to keep within -> which modules become w8a8 and which stay float: solved on profiles, timed, repaired.

Weights alone do not make a CPU faster, so the choice is between float and w8a8 for each module. The artifact that is
written is of scheme w8a8 with more modules kept float, and is judged by that scheme's gates.
"""

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from edgestep.artifact import Artifact, BadInput, check_writable, tool_versions
from edgestep.harness.latency.measure import artifact_job, compare_interleaved
from edgestep.harness.machine import machine_here
from edgestep.quantize.bits import solve_bits
from edgestep.quantize.coreml.sensitivity import Choice, Sensitivity
from edgestep.quantize.run import quantize
from edgestep.search.bench import Bench, graph_bytes
from edgestep.search.kept import Kept, run_kept
from edgestep.search.layer_times import REST, module_times
from edgestep.search.mixed import CALIBRATION, CASES
from edgestep.search.results import MixedReport, Point
from edgestep.search.runners import runner
from edgestep.search.sensitivity import TRIALS, Request, checked_artifact, layers_of, setting_from, stays_float
from edgestep.search.trials import W8A8, Change, Figures, Trial

FLOAT, INT = 32, 8
ATTEMPTS = 4
"""How often an assignment that was too slow, or not yet at the limit, is solved again."""
ROUNDS, RUNS = 9, 5
"""Of the interleaved timing of an attempt: rounds, and drawings of each side in a round."""

Modules = Sequence[tuple[str, str]]
"""(component, module) in the order of the graphs."""
Floats = tuple[tuple[str, str], ...]
"""Of those, the ones that stay float."""


@dataclass(frozen=True)
class Attempt:
    """Modules that stay float, the folder of the artifact, and its latency over the float artifact's, as timed,
    and its pictures.
    """

    floats: Floats
    folder: Path
    ratio: float
    figures: Figures


def search_fast(
    request: Request,
    ratio: float,
    out: Path,
    report: Path,
    *,
    threads: int | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> tuple[Artifact, MixedReport]:
    """Write to `out` the best w8a8 that draws in at most `ratio` of the float artifact's time; return it and a report.

    Finished trials are kept in `report`/trials.jsonl. Raises BadInput as `measure_sensitivity` does, and where even
    with every module of the scheme quantized it is slower than that: the least ratio is told.
    """
    start = time.monotonic()
    check_writable(out)
    if not ratio > 0:
        raise BadInput(f"got a latency ratio of {ratio:g}; expected more than 0; 0.8 is a fifth faster than float")
    artifact = checked_artifact(replace(request, widths=(W8A8,)))
    modules = _modules(request.artifact, artifact)
    noises = _noises(request, artifact, modules, report, tell)
    setting = setting_from(replace(request, cases=CASES, calibration=CALIBRATION), artifact)
    with Bench(setting) as bench, _scratch(out) as folder:
        times = _times(bench, modules, noises, folder, tell)
        attempts = _Attempts(bench, modules, folder, threads, tell)
        best, repairs = within(ratio, times, attempts)
        shutil.rmtree(out, ignore_errors=True)
        os.replace(best.folder, out)
    points = tuple(
        Point(f"{each.ratio:.2f} of float's time", 0, each.figures, chosen=each is best) for each in attempts.made
    )
    floats = set(best.floats)
    return attempts.artifacts[best.floats], MixedReport(
        machine=machine_here(),
        tools=tool_versions("onnx", "onnxruntime", "openvino", "nncf", "numpy"),
        artifact=artifact.name,
        artifact_key=artifact.key,
        goal=f"the best in {ratio:g} of the float artifact's time",
        cases=CASES,
        prompts=len(request.prompts),
        calibration=CALIBRATION,
        seconds=time.monotonic() - start,
        float_bytes=graph_bytes(artifact),
        smallest_bytes=min(point.figures.bytes for point in points),
        points=points,
        widths={f"{c}/{m}": "fp32" if (c, m) in floats else W8A8 for c, m in modules},
        repairs=repairs,
    )


def within(
    ratio: float, table: Sequence[Sensitivity], attempts: Callable[[Floats], Attempt]
) -> tuple[Attempt, tuple[str, ...]]:
    """Return the attempt with the best worst picture of those timed at `ratio` or less, and what was repaired.

    What profiles of single modules do not show, such as other layouts between float and integers, is found by halving.
    """
    fastest = attempts(())
    if not fastest.ratio <= ratio:
        raise BadInput(
            f"got a latency ratio of {ratio:g}; expected {fastest.ratio:.3f} or more, which w8a8 of every module "
            "takes here; allow more time, or keep float"
        )
    least, whole = least_and_float(table)
    low, high, asked = least / whole, ratio, ratio
    best, repairs = fastest, list[str]()
    for _ in range(ATTEMPTS):
        floats = solved_floats(table, asked)
        if not floats or asked <= low:
            break
        tried = attempts(floats)
        if tried.ratio <= ratio:
            best, low = max(best, tried, key=lambda each: each.figures.image_psnr_db), asked
        else:
            high = asked
            repairs.append(f"timed at {tried.ratio:.3f} where {ratio:g} was allowed, solved again with less")
        if low >= high:
            break
        asked = (low + high) / 2
    return best, tuple(repairs)


def least_and_float(table: Sequence[Sensitivity]) -> tuple[int, int]:
    """Return the nanoseconds of everything at its fastest, and of everything float."""
    least = sum(min(choice.bytes for choice in each.choices) for each in table)
    return least, sum(choice.bytes for each in table for choice in each.choices if choice.bits == FLOAT)


def solved_floats(table: Sequence[Sensitivity], ratio: float) -> Floats:
    """Return the modules that stay float in the assignment of least noise within `ratio` of the float time.

    `table`: component/module -> its choices, of 8 and 32 bits, whose `bytes` are nanoseconds. Everything is quantized
    where not even that keeps within it.
    """
    least, whole = least_and_float(table)
    chosen = solve_bits(table, max(int(whole * ratio), least))
    parts = [name.partition("/") for name, choice in chosen.items() if choice.bits == FLOAT]
    return tuple((component, module) for component, _, module in parts if module != REST)


def _modules(folder: Path, artifact: Artifact) -> list[tuple[str, str]]:
    found = layers_of(folder, artifact, (W8A8,))
    return [(component, layer.name) for component, _, layer in found if not stays_float(layer.name, W8A8)]


def _noises(
    request: Request, artifact: Artifact, modules: Modules, report: Path, tell: Callable[[str], None]
) -> dict[str, float]:
    """Return {component/module: noise of the picture} of each module quantized alone."""
    setting = setting_from(request, artifact)
    kept = Kept(report / TRIALS, setting)
    trials = [Trial((Change(component, module, W8A8),)) for component, module in modules]
    tell(f"mixed: {len(trials)} trials of one layer each, {request.cases} cases")
    with runner(setting, request.ray, tell) as run:
        figures = run_kept(trials, kept, run, tell)
    return {f"{c}/{m}": each.image_noise for (c, m), each in zip(modules, figures, strict=True)}


def trial_of(modules: Modules, floats: Modules) -> Trial:
    """Return the trial of all modules but these."""
    kept = set(floats)
    return Trial(tuple(Change(c, m, W8A8) for c, m in modules if (c, m) not in kept))


def _times(
    bench: Bench, modules: Modules, noises: Mapping[str, float], folder: Path, tell: Callable[[str], None]
) -> tuple[Sensitivity, ...]:
    """Return each module's nanoseconds and noise in w8a8 and in float, and the nanoseconds of everything else."""
    tell("mixed: profiling float and w8a8")
    written = bench.written(trial_of(modules, ()), folder / "profiled")
    found = []
    for component in bench.drawer.artifact.components:
        mine = {module for name, module in modules if name == component.name}
        feed, file = bench.feeds[component.name][0], bench.folder / component.file
        floats = module_times(file, feed, mine)
        ints = module_times(written[component.name], feed, mine) if component.name in written else floats
        found += [(f"{component.name}/{module}", floats.get(module, 0), ints.get(module, 0)) for module in sorted(mine)]
        found.append((f"{component.name}/{REST}", floats.get(REST, 0), ints.get(REST, 0)))
    return tuple(
        Sensitivity(name, (Choice(INT, i, noises.get(name, 0.0)), Choice(FLOAT, f, 0.0))) for name, f, i in found
    )


class _Attempts:
    """Writes the w8a8 artifact with some modules kept float, and times it against the float one in turn."""

    def __init__(
        self, bench: Bench, modules: Modules, folder: Path, threads: int | None, tell: Callable[[str], None]
    ) -> None:
        self._bench, self._modules, self._folder = bench, modules, folder
        self._threads, self._tell = threads, tell
        self.made: list[Attempt] = []
        self.artifacts: dict[Floats, Artifact] = {}

    def __call__(self, floats: Floats) -> Attempt:
        """Return the attempt; raise BadInput where it could not be timed."""
        out = self._folder / f"attempt-{len(self.made)}"
        keep = [module for _, module in floats]
        self.artifacts[floats] = quantize(
            self._bench.folder, scheme=W8A8, out=out, feeds=self._bench.feeds, keep=keep, tell=self._tell
        )
        jobs = [artifact_job(folder, threads=self._threads) for folder in (out, self._bench.folder)]
        timed = compare_interleaved(*jobs, name="w8a8 against float", rounds=ROUNDS, runs=(RUNS, RUNS)).ratio
        if timed.failure:
            raise BadInput(f"got no timing ({timed.failure}); expected both to run; try 'edgestep bench' on it")
        files = {component.name: out / component.file for component in self._bench.drawer.artifact.components}
        attempt = Attempt(floats, out, 1 / timed.ratio, self._bench.measured(files))
        self._tell(
            f"mixed: {len(keep)} modules more kept float, {attempt.ratio:.3f} of float's time, worst image PSNR "
            f"{attempt.figures.image_psnr_db:.2f} dB"
        )
        self.made.append(attempt)
        return attempt


@contextmanager
def _scratch(out: Path) -> Iterator[Path]:
    """Yield a folder on the disk of `out`, so that what is made there can be moved."""
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.partial-", dir=out.parent) as folder:
        yield Path(folder)
