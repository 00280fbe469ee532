"""Latency: one fresh process each, nothing silent. No time is asserted beyond that it is one."""

import math
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from edgestep.artifact import BadInput
from edgestep.export.source.source import Source
from edgestep.harness.latency import measure as latency
from edgestep.harness.latency.measure import (
    Budget,
    artifact_job,
    compare_interleaved,
    eager_job,
    measure,
    measure_latency,
    teacher_job,
)
from edgestep.harness.latency.memory import PeakMemory, anonymous_bytes, peak_resident_bytes
from edgestep.harness.results import LatencyResult
from edgestep.harness.statistics import median_interval, quantiles, ratio_interval
from edgestep.harness.worker_process import Job, WorkerProcess

QUICK = Budget(runs=4, seconds=0.0, timeout_s=120.0)


@pytest.fixture(autouse=True)
def _tests_on_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent.parent.parent))


def _fake(name: str, **options) -> Job:
    return Job(name.lower(), f"tests.harness.fake_runners:{name}", options, threads=1)


def _is_whole(result: LatencyResult, runs: int) -> None:
    assert result.failure == "" and result.kind == "real"
    assert len(result.samples_s) == runs and min(result.samples_s) > 0
    assert result.p50_s <= result.p90_s <= result.p99_s <= max(result.samples_s)
    low, high = result.interval_s
    assert min(result.samples_s) <= low <= result.p50_s <= high <= max(result.samples_s)
    assert result.images_per_s == pytest.approx(runs / sum(result.samples_s))
    assert result.load_s > 0 and result.first_s > 0 and result.import_s is not None
    assert result.machine is not None and result.machine.cores >= 1


def test_a_fake_runner_is_measured_whole():
    result = measure(_fake("Sleeper", seconds=0.002), budget=QUICK)
    _is_whole(result, 4)
    assert result.compile_s == 0.25
    assert result.components["unet"] == 0.002 and result.components["rest"] >= 0
    if sys.platform == "linux":
        assert result.peak_anonymous_bytes is not None and result.peak_resident_bytes is not None
        assert 32 << 20 < result.peak_anonymous_bytes < result.peak_resident_bytes


def test_it_runs_at_least_the_runs_and_the_seconds():
    result = measure(_fake("Sleeper", seconds=0.001), budget=Budget(runs=2, seconds=0.3, timeout_s=120))
    assert len(result.samples_s) > 2
    assert sum(result.samples_s) > 0.2


def test_what_a_runtime_prints_does_not_reach_the_results():
    _is_whole(measure(_fake("Sleeper", noise='{"failure": "no"}\n'), budget=QUICK), 4)


@pytest.mark.parametrize(
    ("runner", "failure"),
    [
        ("Raises", "raises failed: RuntimeError: no such device"),
        ("Killed", "the worker of killed was killed by SIGKILL"),
        ("Exits", "the worker of exits ended with status 7: the driver gave up"),
        ("KilledLater", "the worker of killedlater was killed by SIGKILL"),
        ("NoSuchRunner", "no attribute 'NoSuchRunner'"),
    ],
)
def test_a_worker_that_dies_is_a_failure_that_says_so(runner, failure):
    result = measure(_fake(runner), budget=QUICK)
    assert failure in result.failure
    assert math.isnan(result.p50_s) and result.samples_s == ()


def test_a_worker_that_hangs_is_stopped():
    with pytest.MonkeyPatch.context() as patch:
        started: list[subprocess.Popen] = []
        popen = subprocess.Popen

        def remembered(*args, **options):
            started.append(popen(*args, **options))
            return started[-1]

        patch.setattr(subprocess, "Popen", remembered)
        result = measure(_fake("Hangs"), budget=Budget(timeout_s=1.0))
    assert result.failure == "the worker of hangs gave no answer in 1 s"
    assert started[0].returncode is not None


def test_every_measurement_has_a_fresh_process():
    before = threading.active_count()
    with WorkerProcess(_fake("Sleeper"), 120) as one, WorkerProcess(_fake("Sleeper"), 120) as other:
        assert one._process.pid != other._process.pid != os.getpid()
    assert one._process.returncode is not None and other._process.returncode is not None
    assert threading.active_count() <= before + 2


def test_interleaving_gives_the_ratio_of_medians(monkeypatch):
    order: list[str] = []
    run = WorkerProcess.run
    monkeypatch.setattr(WorkerProcess, "run", lambda self, n, s=0.0: order.append(self._job.name) or run(self, n, s))
    compared = compare_interleaved(
        Job("a", "tests.harness.fake_runners:Sleeper", {"seconds": 0.004}, 1),
        Job("b", "tests.harness.fake_runners:Sleeper", {"seconds": 0.04}, 1),
        rounds=4,
        runs=(3, 1),
    )
    assert order == ["a", "b"] * 4
    assert (len(compared.of.samples_s), len(compared.over.samples_s)) == (12, 4)
    rounds = [np.median(compared.of.samples_s[i : i + 3]) for i in range(0, 12, 3)]
    assert compared.ratio.ratio == pytest.approx(np.median(compared.over.samples_s) / np.median(rounds))
    assert compared.ratio.interval[0] <= compared.ratio.ratio <= compared.ratio.interval[1]
    assert (compared.ratio.of, compared.ratio.over, compared.ratio.rounds) == ("a", "b", 4)
    assert compared.ratio.ratio > 1


@pytest.mark.parametrize("broken", ["Killed", "KilledLater"])
def test_a_comparison_with_a_dead_side_says_so(broken):
    compared = compare_interleaved(_fake("Sleeper"), _fake(broken), rounds=6)
    assert "SIGKILL" in compared.ratio.failure and math.isnan(compared.ratio.ratio)
    assert compared.of.failure and compared.over.failure


def test_what_cannot_be_compared_is_bad_input():
    with pytest.raises(BadInput, match="2 or more rounds"):
        compare_interleaved(_fake("Sleeper"), _fake("Sleeper"), rounds=1)
    with pytest.raises(BadInput, match="same for both"):
        compare_interleaved(_fake("Sleeper"), Job("b", "m:C", {}, threads=2))


def test_an_artifact_is_measured_by_component(split_folder):
    told: list[str] = []
    result = measure_latency(split_folder, threads=1, budget=QUICK, tell=told.append)
    _is_whole(result, 4)
    assert set(result.components) == {"text_encoder", "unet", "vae_decoder", "rest"}
    assert (result.threads, result.runtime) == (1, "onnxruntime") and len(told) == 1


def test_measuring_an_artifact_imports_no_torch(fused_folder):
    code = f"""
import sys
from edgestep.harness.latency.timed_artifact import ArtifactRunner
import edgestep.harness.latency.measure
runner = ArtifactRunner({str(fused_folder)!r}, "onnxruntime", 1)
runner.imports(); runner.load()
assert set(runner.draw()) == {{"generator", "rest"}}
runner.close()
assert not {{"torch", "diffusers", "onnx"}} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_bad_threads_and_folders_are_bad_input(split_folder, tmp_path):
    with pytest.raises(BadInput, match="got 0 threads"):
        artifact_job(split_folder, threads=0)
    with pytest.raises(BadInput, match=r"without edgestep\.json"):
        measure_latency(tmp_path)


def test_torch_and_the_teacher_are_compared_in_one_run(tiny):
    compared = compare_interleaved(eager_job(tiny, threads=1), teacher_job(tiny, threads=1, steps=3), rounds=2)
    assert compared.ratio.failure == "" and compared.ratio.over == "teacher, 3 steps with guidance"
    for result in (compared.of, compared.over):
        assert set(result.components) == {"text_encoder", "unet", "vae_decoder", "rest"}


def test_the_teacher_samples_what_the_pipeline_of_diffusers_samples(tiny):
    import torch

    from edgestep.harness.latency.timed_torch import GUIDANCE, PROMPT, TeacherRunner

    runner = TeacherRunner({"folder": str(tiny)}, torch.get_num_threads(), steps=4)
    runner.imports()
    runner.load()
    with torch.inference_mode():
        ours = runner.model.decode(runner.sample(runner.model.encode(runner.both_ids)))
    pipe = runner.model.pipe
    pipe.scheduler = runner.scheduler
    pipe.set_progress_bar_config(disable=True)
    theirs = pipe(PROMPT, num_inference_steps=4, guidance_scale=GUIDANCE, latents=runner.noise, output_type="np").images
    assert np.allclose(ours, theirs, atol=1e-4)


def test_baselines_name_what_they_are(monkeypatch):
    jobs: list[Job] = []
    monkeypatch.setattr(latency, "measure", lambda job, **_: jobs.append(job) or LatencyResult("real"))
    names = [baseline.name for baseline in latency.measure_baselines(Source(Path("somewhere")), threads=1)]
    assert names == ["PyTorch eager, one step", "teacher, 50 steps with guidance"]
    assert jobs[1].options["steps"] == 50 and {job.threads for job in jobs} == {1}


def test_statistics_against_closed_forms():
    samples = list(range(101))
    assert quantiles(samples) == (50.0, 90.0, 99.0)
    assert median_interval([2.0] * 9) == (2.0, 2.0)
    normal = np.random.default_rng(0).standard_normal(401)
    low, high = median_interval(normal.tolist())
    assert low < np.median(normal) < high
    assert high - low == pytest.approx(2 * 1.96 * math.sqrt(math.pi / 2 / 401), rel=0.35)  # asymptotic for a normal
    assert median_interval(samples) == median_interval(samples)
    assert ratio_interval([6.0, 8.0, 10.0], [3.0, 4.0, 5.0]) == (2.0, 2.0)
    with pytest.raises(ValueError, match="per round"):
        ratio_interval([1.0], [1.0, 2.0])


def test_peak_memory_sees_what_was_freed():
    if anonymous_bytes() is None:
        pytest.skip("no /proc here")
    with PeakMemory() as peak:
        block = np.ones(8 << 20)
        del block
    resident, source = peak_resident_bytes()
    assert peak.anonymous is not None and resident is not None
    assert peak.anonymous > 64 << 20 and resident > 64 << 20 and "VmHWM" in source


def test_without_proc_memory_says_so(monkeypatch, tmp_path):
    from edgestep.harness.latency import memory

    monkeypatch.setattr(memory, "STATUS", tmp_path / "none")
    with PeakMemory() as peak:
        pass
    assert peak.anonymous is None
    assert "anonymous not measured" in peak_resident_bytes()[1]
