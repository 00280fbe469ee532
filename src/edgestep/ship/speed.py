"""Artifacts -> latencies, each in a fresh process, and the ratios that are measured interleaved in one run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from edgestep import __version__
from edgestep.artifact import Artifact, OneStep, sha256_of_json
from edgestep.export.source.source import Source
from edgestep.harness.latency.measure import (
    artifact_job,
    compare_interleaved,
    eager_job,
    measure_baselines,
    measure_latency,
    teacher_job,
)
from edgestep.harness.machine import machine_here
from edgestep.harness.results import PASSED, Baseline, LatencyResult, ParityResult, Ratio
from edgestep.harness.worker_process import Job as TimedJob
from edgestep.progress import Tell
from edgestep.runtimes.registry import EVALUATED, runtime_for
from edgestep.ship.plan import Job
from edgestep.ship.stages import Stages


@dataclass(frozen=True)
class Speed:
    """What was timed: artifact name -> latency, the baselines, and the interleaved ratios."""

    latency: Mapping[str, LatencyResult]
    baselines: tuple[Baseline, ...]
    ratios: tuple[Ratio, ...]


@dataclass(frozen=True)
class Timing:
    """What every timing here depends on beside the artifact: a kept figure of another machine is not reused."""

    out: Path
    source: Source
    contract: OneStep
    checkpoint_sha256: str
    threads: int

    @property
    def has_teacher(self) -> bool:
        """Whether the sampler of 50 steps can run: a UNet of sd that no guidance scale is told."""
        return self.contract.base == "sd" and self.contract.guidance_embedding is None

    def key(self, *parts: str) -> str:
        """Return the key of a timing of those artifact keys."""
        machine = machine_here()
        return sha256_of_json([*parts, self.checkpoint_sha256, self.threads, repr(machine), __version__])


def measure_speed(
    timing: Timing,
    jobs: Sequence[Job],
    made: Mapping[str, Artifact],
    checked: Mapping[str, ParityResult],
    stages: Stages,
    tell: Tell,
) -> Speed:
    """Time every artifact that a runtime here runs, PyTorch eager and the teacher; then the best against them."""
    timed = [job for job in jobs if job.target.latency and runtime_for(made[job.name]) not in EVALUATED]
    latency = {job.name: _latency(timing, job, made[job.name], stages, tell) for job in timed}
    if not timed:
        return Speed(latency, (), ())
    baselines = stages.kept(
        "baselines",
        timing.key("baselines"),
        tuple[Baseline, ...],
        lambda: measure_baselines(timing.source, threads=timing.threads, teacher=timing.has_teacher, tell=tell),
    )
    best = fastest(timed, latency, checked)
    return Speed(latency, baselines, _ratios(timing, best, timed, made, stages, tell))


def fastest(
    jobs: Sequence[Job], latency: Mapping[str, LatencyResult], checked: Mapping[str, ParityResult]
) -> tuple[Job, ...]:
    """Return the fastest job of each target that passed its gates, in the order of the targets; () where none did."""
    passed = [job for job in jobs if checked[job.name].verdict == PASSED and not latency[job.name].failure]
    by_target: dict[str, Job] = {}
    for job in passed:
        held = by_target.setdefault(job.target.name, job)
        if latency[job.name].p50_s < latency[held.name].p50_s:
            by_target[job.target.name] = job
    return tuple(by_target.values())


def _latency(timing: Timing, job: Job, artifact: Artifact, stages: Stages, tell: Tell) -> LatencyResult:
    return stages.kept(
        f"{job.name}.latency",
        timing.key(artifact.key),
        LatencyResult,
        lambda: measure_latency(job.folder(timing.out), threads=timing.threads, tell=tell),
    )


def _ratios(
    timing: Timing, best: Sequence[Job], jobs: Sequence[Job], made: Mapping[str, Artifact], stages: Stages, tell: Tell
) -> tuple[Ratio, ...]:
    """Compare the best artifacts with the teacher and PyTorch eager, and each quantized artifact with a float one.

    Every target's best, not one: what is fastest must not follow from which of them was measured interleaved.
    """
    threads = timing.threads

    def artifact(job: Job) -> TimedJob:
        return artifact_job(job.folder(timing.out), threads=threads)

    def compared(of: Job, over: TimedJob, name: str, rounds: int, runs: tuple[int, int]) -> Ratio:
        measured = compare_interleaved(artifact(of), over, name=name, rounds=rounds, runs=runs, tell=tell).ratio
        return replace(measured, of=of.name)  # the report's name, where the manifest has another

    def ratio(name: str, of: Job, over: TimedJob, over_key: str, rounds: int, runs: tuple[int, int]) -> Ratio:
        return stages.kept(
            f"ratio.{of.name}.over.{over_key[:12]}",
            timing.key(made[of.name].key, over_key, name),
            Ratio,
            lambda: compared(of, over, name, rounds, runs),
        )

    ratios = []
    teacher = teacher_job(timing.source.folder, threads=threads) if timing.has_teacher else None
    eager = eager_job(timing.source, threads=threads)
    for one in best:
        if teacher:
            ratios.append(ratio(f"{one.name} against the {teacher.name}", one, teacher, "teacher", 5, (10, 1)))
        ratios.append(ratio(f"{one.name} against {eager.name}", one, eager, "eager", 7, (10, 5)))
    for job in jobs:
        if whole := float_counterpart(job, jobs):
            name = f"{job.name} against {whole.name}"
            ratios.append(ratio(name, job, artifact(whole), made[whole.name].key, 7, (10, 10)))
    return tuple(ratios)


def float_counterpart(job: Job, jobs: Sequence[Job]) -> Job | None:
    """Return what a quantized job is compared with: its parent where that is timed, else a float one of its target."""
    if not job.parent:
        return None
    alike = [one for one in jobs if not one.parent and (one.target, one.layout) == (job.target, job.layout)]
    return next((one for one in jobs if one.name == job.parent), None) or next(iter(alike), None)
