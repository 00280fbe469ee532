"""Job -> LatencyResult, one fresh process each; and two jobs in turn -> the ratio of their medians.

A worker that crashes, hangs or is killed gives a result that says so in `failure`, without figures.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from edgestep.artifact import BadInput, read_artifact
from edgestep.export.source.source import Source
from edgestep.harness.machine import machine_here, usable_cores
from edgestep.harness.reference.same_model import installed_runtime
from edgestep.harness.results import Baseline, LatencyResult, Ratio
from edgestep.harness.statistics import median_interval, quantiles, ratio_interval
from edgestep.harness.worker_process import Job, WorkerFailed, WorkerProcess
from edgestep.runtimes.registry import EVALUATED

TIMEOUT_S = 900.0
EAGER = "PyTorch eager, one step"
TEACHER = "teacher, {steps} steps with guidance"
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Budget:
    """How long to measure: at least `runs` warm runs and at least `seconds`; `timeout_s` for each answer."""

    runs: int = 30
    seconds: float = 3.0
    timeout_s: float = TIMEOUT_S


@dataclass(frozen=True)
class Comparison:
    """Two jobs measured in turn in one run: the ratio, and each one's own latency."""

    ratio: Ratio
    of: LatencyResult
    over: LatencyResult


def artifact_job(folder: Path, *, runtime: str | None = None, threads: int | None = None) -> Job:
    """Return the job of an artifact; BadInput where its files do not hold, or nothing runs it here."""
    artifact = read_artifact(folder)
    runtime = installed_runtime(artifact, runtime)
    if runtime in EVALUATED:
        raise BadInput(
            f"got {artifact.name} on {runtime}, whose time says nothing of a device; expected a runtime that it is "
            "made for; time it on a Mac"
        )
    options = {"folder": str(folder), "runtime": runtime, "threads": _threads(threads)}
    return Job(
        artifact.name, "edgestep.harness.latency.timed_artifact:ArtifactRunner", options, options["threads"], runtime
    )


def eager_job(checkpoint: Path | Source, *, threads: int | None = None) -> Job:
    """Return the job of the checkpoint's own steps in PyTorch eager, fp32, CPU."""
    source = checkpoint if isinstance(checkpoint, Source) else Source(checkpoint)
    options = {"source": _json_from_source(source), "threads": _threads(threads)}
    return Job(EAGER, "edgestep.harness.latency.timed_torch:OneStepRunner", options, options["threads"], "pytorch")


def teacher_job(checkpoint_folder: Path, *, threads: int | None = None, steps: int = 50) -> Job:
    """Return the job of the teacher's sampler: `steps` DDIM steps with guidance at batch 2, in PyTorch eager."""
    options = {"source": _json_from_source(Source(checkpoint_folder)), "threads": _threads(threads), "steps": steps}
    name = TEACHER.format(steps=steps)
    return Job(name, "edgestep.harness.latency.timed_torch:TeacherRunner", options, options["threads"], "pytorch")


def _json_from_source(source: Source) -> dict[str, Any]:
    return {key: str(value) if isinstance(value, Path) else value for key, value in asdict(source).items()}


def measure_latency(
    artifact_folder: Path,
    *,
    runtime: str | None = None,
    threads: int | None = None,
    budget: Budget | None = None,
    tell: Tell = lambda _: None,
) -> LatencyResult:
    """Measure an artifact at batch 1 in a fresh process. `threads` None takes every core this process may use.

    Raises BadInput where the artifact does not hold or nothing runs it here; see `measure` for what fails later.
    """
    return measure(artifact_job(artifact_folder, runtime=runtime, threads=threads), budget=budget, tell=tell)


def measure_baselines(
    source: Source,
    *,
    threads: int | None = None,
    steps: int = 50,
    teacher: bool = True,
    tell: Tell = lambda _: None,
) -> tuple[Baseline, ...]:
    """Measure PyTorch eager, and with `teacher` the teacher's sampler, each in its own fresh process."""
    eager = Baseline(EAGER, measure(eager_job(source, threads=threads), tell=tell))
    if not teacher:
        return (eager,)
    job = teacher_job(source.folder, threads=threads, steps=steps)
    return eager, Baseline(job.name, measure(job, budget=Budget(3, 0.0), tell=tell))


def measure(job: Job, *, budget: Budget | None = None, tell: Tell = lambda _: None) -> LatencyResult:
    """Measure one job in a fresh process; what goes wrong there is in the result's `failure`."""
    budget = budget or Budget()
    tell(f"latency: {job.name}, {job.threads} threads")
    try:
        with WorkerProcess(job, budget.timeout_s) as worker:
            measured = worker.run(budget.runs, budget.seconds)
            return _result(job, worker.started, measured, worker.end())
    except WorkerFailed as failure:
        return _failed(job, str(failure))


def compare_interleaved(
    of: Job,
    over: Job,
    *,
    name: str = "",
    rounds: int = 7,
    runs: tuple[int, int] = (1, 1),
    timeout_s: float = TIMEOUT_S,
    tell: Tell = lambda _: None,
) -> Comparison:
    """Measure two jobs in turn, A B A B, in two processes that stay loaded; return median(over) / median(of).

    Each round is one sample of each side: the median of `runs[0]` runs of `of`, then of `runs[1]` runs of `over`. A
    few runs of the faster side let its caches recover from the slower one. Raises BadInput for fewer than 2 rounds.
    """
    if rounds < 2 or min(runs) < 1:
        raise BadInput(
            f"got {rounds} rounds of {runs} runs; expected 2 or more rounds of 1 or more; 7 are a good start"
        )
    if of.threads != over.threads:
        raise BadInput(f"got {of.threads} and {over.threads} threads; expected the same for both; set one number")
    name = name or f"{of.name} against {over.name}"
    try:
        with WorkerProcess(of, timeout_s) as first, WorkerProcess(over, timeout_s) as second:
            one, other = [], []
            for i in range(rounds):
                tell(f"latency: {name}, round {i + 1} of {rounds}")
                one.append(first.run(runs[0]))
                other.append(second.run(runs[1]))
            return _comparison(name, (of, first, one), (over, second, other))
    except WorkerFailed as failure:
        nan = float("nan")
        ratio = Ratio(name, of.name, over.name, nan, (nan, nan), failure=str(failure))
        return Comparison(ratio, _failed(of, str(failure)), _failed(over, str(failure)))


Side = tuple[Job, WorkerProcess, Sequence[Mapping[str, Any]]]


def _comparison(name: str, of: Side, over: Side) -> Comparison:
    medians = [[float(np.median(turn["samples_s"])) for turn in turns] for _, _, turns in (of, over)]
    of_s, over_s = (float(np.median(rounds)) for rounds in medians)
    ratio = Ratio(
        name=name,
        of=of[0].name,
        over=over[0].name,
        ratio=over_s / of_s,
        interval=ratio_interval(medians[1], medians[0]),
        rounds=len(medians[0]),
        of_s=of_s,
        over_s=over_s,
    )
    results = [_result(job, worker.started, _joined(turns), worker.end()) for job, worker, turns in (of, over)]
    return Comparison(ratio, *results)


def _joined(turns: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    names = turns[0]["components"]
    return {
        "samples_s": [sample for turn in turns for sample in turn["samples_s"]],
        "components": {name: [part for turn in turns for part in turn["components"][name]] for name in names},
    }


def _result(
    job: Job, started: Mapping[str, Any], measured: Mapping[str, Any], memory: Mapping[str, Any]
) -> LatencyResult:
    samples = tuple(measured["samples_s"])
    p50, p90, p99 = quantiles(samples)
    components = {name: float(np.median(parts)) for name, parts in measured["components"].items()}
    named = sum(np.sum(parts) for name, parts in measured["components"].items() if name != "rest")
    components["rest"] = max(0.0, (sum(samples) - float(named)) / len(samples))
    return replace(
        _failed(job, ""),
        load_s=started["load_s"],
        first_s=started["first_s"],
        p50_s=p50,
        p90_s=p90,
        p99_s=p99,
        interval_s=median_interval(samples),
        samples_s=samples,
        images_per_s=len(samples) / sum(samples),
        compile_s=started["compile_s"],
        import_s=started["import_s"],
        peak_anonymous_bytes=memory["anonymous"],
        peak_resident_bytes=memory["resident"],
        memory_source=memory["source"],
        components=components,
    )


def _failed(job: Job, failure: str) -> LatencyResult:
    return LatencyResult("real", threads=job.threads, runtime=job.runtime, machine=machine_here(), failure=failure)


def _threads(threads: int | None) -> int:
    if threads is not None and threads < 1:
        raise BadInput(f"got {threads} threads; expected 1 or more; leave it out for every core")
    return threads or usable_cores()
