"""Results -> what every report says first: one row per artifact, the headline, the gates that failed.

The page, the Markdown and the terminal's table print these same rows, so that they cannot tell different stories.
"""

import math
from dataclasses import dataclass

from edgestep.harness.figures import MISSING, limit_text, measure_name, measure_text, ratio_text, size_text, time_text
from edgestep.harness.parity.gates import IMAGE_PSNR, IMAGE_SSIM, X0_SQNR
from edgestep.harness.results import (
    EVALUATED,
    FAILED,
    PARITY_WORDS,
    PASSED,
    UNCHECKED,
    UNDECIDED,
    ArtifactResult,
    Baseline,
    GateResult,
    LatencyResult,
    ParityResult,
    Ratio,
    Results,
)

VERDICT_WORDS = {PASSED: "passed", FAILED: "failed", UNDECIDED: "undecided", UNCHECKED: "not checked"}
GRAPH_PARITY = (
    "Graph parity (evaluated): the artifact's program was executed operation by operation on this machine, float16 "
    "rounded as devices approximately do. That is no parity of the Neural Engine or a GPU: replay it on the device."
)
NOISY = 1.3
"""p90 over p50 from which on a timing is called noisy."""


@dataclass(frozen=True)
class Measured:
    """One measure's worst value in a table: its text, its gate's limit as text, whether that gate failed."""

    text: str = MISSING
    limit: str = ""
    failed: bool = False


@dataclass(frozen=True)
class Row:
    """One artifact, numbered from 1 in the order of the table; the number names it in plots and pictures."""

    number: int
    artifact: ArtifactResult
    verdict: str
    psnr: Measured
    ssim: Measured
    sqnr: Measured
    teacher: float
    interleaved: bool

    @property
    def label(self) -> str:
        """`x86 w8a8 fused`."""
        return f"{self.artifact.target} {self.artifact.scheme} {self.artifact.layout}"

    @property
    def teacher_text(self) -> str:
        """`110×`, or `≈ 110×` where the two were timed one after the other and not interleaved."""
        text = ratio_text(self.teacher)
        return text if self.interleaved or text == MISSING else f"≈ {text}"

    @property
    def latency(self) -> LatencyResult | None:
        """The timing, where it is one: real, and not failed."""
        return real_latency(self.artifact.latency)

    @property
    def unjudged(self) -> str:
        """Why the row has no measures, "" where it has some."""
        parity = self.artifact.parity
        if parity and parity.gates:
            return ""
        return (parity.reason if parity else "") or "no measures"

    @property
    def failed_elsewhere(self) -> str:
        """The failed gates that have no column of their own: `prompt sensitivity, not finite`."""
        gates = self.artifact.parity.gates if self.artifact.parity else ()
        failed = [g.measure for g in gates if g.passed is False and g.measure not in (IMAGE_PSNR, IMAGE_SSIM, X0_SQNR)]
        return ", ".join(measure_name(measure) for measure in failed)

    @property
    def untimed(self) -> str:
        """Why the row has no times, "" where it has them. An emulated time is not one."""
        latency = self.artifact.latency
        if self.latency is not None:
            return ""
        if latency is None:
            return "not timed"
        if latency.failure:
            return f"not timed: {latency.failure}"
        return "no median" if latency.kind == "real" else f"{latency.kind}: no time is claimed"

    @property
    def evaluated(self) -> bool:
        """Whether the verdict is on the program, executed on another machine than it is made for."""
        return self.artifact.parity is not None and self.artifact.parity.evidence == EVALUATED

    @property
    def times(self) -> dict[str, str]:
        """Texts of p50, p90, first, load and memory; dashes where the latency is emulated, failed or absent."""
        latency = self.latency
        if latency is None:
            return dict.fromkeys(("p50", "p90", "first", "load", "memory"), MISSING)
        return {
            "p50": time_text(latency.p50_s),
            "p90": time_text(latency.p90_s),
            "first": time_text(latency.first_s),
            "load": time_text(latency.load_s),
            "memory": size_text(latency.peak_anonymous_bytes),
        }

    @property
    def cells(self) -> tuple[str, ...]:
        """The row as plain text, in the order of `COLUMNS`."""
        times = self.times
        artifact = self.artifact
        measures = (self.psnr.text, self.ssim.text, self.sqnr.text)
        what = (str(self.number), artifact.target, artifact.scheme, artifact.layout, size_text(artifact.bytes))
        speeds = (times["p50"], times["p90"], self.teacher_text, times["first"], times["load"], times["memory"])
        word = VERDICT_WORDS[self.verdict] + (" (evaluated)" if self.evaluated else "")
        return (*what, word, *measures, *speeds)


COLUMNS = (
    *("#", "target", "scheme", "layout", "size", "parity", "PSNR", "SSIM", "x0 SQNR"),
    *("p50", "p90", "vs teacher", "first run", "load", "peak memory"),
)


@dataclass(frozen=True)
class Complaint:
    """Something that a reader must not miss: a failed gate, or an artifact that could not be judged or timed."""

    row: Row
    what: str
    failed: bool
    figure: str = ""
    limit: str = ""
    case: str = ""
    reason: str = ""


@dataclass(frozen=True)
class Speedup:
    """How many times faster one step of `row` is than the teacher. `interval` is None where it was not interleaved.

    `step_s` and `teacher_s` are the medians that the ratio is of, NaN where they were not kept: never those of
    another run beside it.
    """

    row: Row
    ratio: float
    interval: tuple[float, float] | None
    over: str
    step_s: float
    teacher_s: float


def rows_from_results(results: Results) -> tuple[Row, ...]:
    """Return the artifacts sorted by target, then in the order they were made in."""
    order = {name: index for index, name in enumerate(dict.fromkeys(a.target for a in results.artifacts))}
    artifacts = sorted(results.artifacts, key=lambda a: order[a.target])
    return tuple(
        Row(
            number,
            artifact,
            artifact.parity.verdict if artifact.parity and artifact.parity.verdict in VERDICT_WORDS else UNCHECKED,
            _measured(artifact, IMAGE_PSNR),
            _measured(artifact, IMAGE_SSIM),
            _measured(artifact, X0_SQNR),
            *_row_ratio(results, artifact),
        )
        for number, artifact in enumerate(artifacts, start=1)
    )


def real_latency(latency: LatencyResult | None) -> LatencyResult | None:
    """Return the latency where it may be printed as one: measured on the device itself, with a median."""
    if latency is None or latency.kind != "real" or latency.failure or not math.isfinite(latency.p50_s):
        return None
    return latency


def gate_of(artifact: ArtifactResult, measure: str) -> GateResult | None:
    """Return the gate on that measure (a name of gates.py), None where the artifact has none."""
    gates = artifact.parity.gates if artifact.parity else ()
    return next((gate for gate in gates if gate.measure == measure), None)


def _measured(artifact: ArtifactResult, measure: str) -> Measured:
    gate = gate_of(artifact, measure)
    if gate is None:
        return Measured()
    limit = "" if gate.limit == "report" else limit_text(gate.limit)
    return Measured(measure_text(gate.measure, gate.worst, gate.limit), limit, gate.passed is False)


def teacher_of(results: Results) -> Baseline | None:
    """Return the baseline that is the teacher's many-step sampler."""
    return next((baseline for baseline in results.baselines if "teacher" in baseline.name.lower()), None)


def _ratio_to_teacher(results: Results, artifact: ArtifactResult) -> tuple[float, Ratio | None]:
    """Return the interleaved ratio where there is one, else the quotient of the medians, else NaN."""
    for ratio in results.ratios:
        if ratio.of == artifact.name and "teacher" in ratio.over.lower() and not ratio.failure:
            return ratio.ratio, ratio
    teacher = teacher_of(results)
    mine, theirs = real_latency(artifact.latency), real_latency(teacher.latency) if teacher else None
    if mine and theirs and mine.p50_s > 0:
        return theirs.p50_s / mine.p50_s, None
    return math.nan, None


def _row_ratio(results: Results, artifact: ArtifactResult) -> tuple[float, bool]:
    ratio, record = _ratio_to_teacher(results, artifact)
    return ratio, record is not None


def best_speedup(results: Results, rows: tuple[Row, ...]) -> Speedup | None:
    """Return the artifact with the highest ratio to the teacher among those that passed every gate and are real.

    A ratio with an interval beats one without, whatever their size: it was measured in one interleaved run.
    """
    found: list[Speedup] = []
    teacher = teacher_of(results)
    for row in rows:
        ratio, record = _ratio_to_teacher(results, row.artifact)
        if row.verdict != PASSED or row.latency is None or not math.isfinite(ratio):
            continue
        if record:
            found.append(Speedup(row, ratio, record.interval, record.over, record.of_s, record.over_s))
        elif teacher:
            found.append(Speedup(row, ratio, None, teacher.name, row.latency.p50_s, teacher.latency.p50_s))
    return max(found, key=lambda s: (s.interval is not None, s.ratio), default=None)


def complaints_from_rows(rows: tuple[Row, ...]) -> tuple[Complaint, ...]:
    """Return what failed and what is in doubt, gate by gate; then the timings that failed."""
    found = [complaint for row in rows for complaint in _complaints_on_parity(row)]
    found += [
        Complaint(row, "could not be timed", False, reason=row.artifact.latency.failure)
        for row in rows
        if row.artifact.latency and row.artifact.latency.failure
    ]
    return tuple(found)


def _complaints_on_parity(row: Row) -> list[Complaint]:
    parity = row.artifact.parity
    if parity is None:
        return []
    overridden = [
        Complaint(
            row,
            f"{measure_name(gate.measure)} overridden by hand",
            False,
            reason=f"{limit_text(gate.limit)} in place of {limit_text(gate.scheme_limit)}",
        )
        for gate in parity.gates
        if gate.scheme_limit
    ]
    if row.verdict not in (FAILED, UNDECIDED):
        return overridden
    return _complaints_on_gates(row, parity) + overridden


def _complaints_on_gates(row: Row, parity: ParityResult) -> list[Complaint]:
    found = []
    for gate in parity.gates:
        name, limit = measure_name(gate.measure), limit_text(gate.limit)
        if gate.passed is False:
            figure = measure_text(gate.measure, gate.worst, gate.limit)
            found.append(Complaint(row, name, True, figure, limit, gate.case, gate.reason))
        elif gate.passed is None and gate.limit != "report":
            found.append(Complaint(row, f"{name} {gate.word}", False, case=gate.case, reason=gate.reason))
    # A run that stopped has a verdict and a reason, but no gate that says so.
    return found or [Complaint(row, f"parity {row.verdict}", row.verdict == FAILED, reason=parity.reason)]


def reference_labels(results: Results) -> tuple[str, ...]:
    """Return what drew the references that the artifacts were compared with, in words, each once."""
    parities = [artifact.parity for artifact in results.artifacts if artifact.parity]
    return tuple(dict.fromkeys(parity.reference_label for parity in parities if parity.reference_label))


def counts_of(rows: tuple[Row, ...]) -> dict[str, int]:
    """Return {verdict: how many artifacts}, every verdict among the keys."""
    return {verdict: sum(row.verdict == verdict for row in rows) for verdict in VERDICT_WORDS}


def counts_text(rows: tuple[Row, ...]) -> str:
    """Return `9 passed their parity gates (2 as graph parity, evaluated), 1 failed, 1 was not checked`."""
    counts = counts_of(rows)
    parts = [f"{counts[PASSED]} passed {'its' if counts[PASSED] == 1 else 'their'} parity gates"]
    if graphs := sum(row.verdict == PASSED and row.evaluated for row in rows):
        parts[0] += f" ({graphs} as {PARITY_WORDS[EVALUATED].replace(' (', ', ').rstrip(')')})"
    if counts[FAILED]:
        parts.append(f"{counts[FAILED]} failed")
    for verdict, word in ((UNDECIDED, "undecided"), (UNCHECKED, "not checked")):
        if counts[verdict]:
            parts.append(f"{counts[verdict]} {'was' if counts[verdict] == 1 else 'were'} {word}")
    return ", ".join(parts)


def evaluated_text(rows: tuple[Row, ...]) -> str:
    """Return the sentence that says what graph parity is, where a row has it, else ""."""
    return GRAPH_PARITY if any(row.evaluated for row in rows) else ""


def shipped_text(results: Results) -> str:
    """Return `11 artifacts for 3 targets`."""
    artifacts, targets = len(results.artifacts), len({a.target for a in results.artifacts})
    return f"{artifacts} artifact{'s' * (artifacts != 1)} for {targets} target{'s' * (targets != 1)}"


def noisy_rows(rows: tuple[Row, ...]) -> tuple[Row, ...]:
    """Return the rows whose p90 is far above their p50: the machine was busy with something else."""
    return tuple(row for row in rows if row.latency and row.latency.p90_s > NOISY * row.latency.p50_s)
