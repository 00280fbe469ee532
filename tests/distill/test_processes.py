"""Two processes (gloo) against one: the same losses; a killed one ends the run, and it is gone on with."""

import json
import os
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch

from edgestep.distill.config import Config
from edgestep.distill.workers import Workers
from tests.distill.toys import DMD, GAN
from tests.distill.train_here import Losses, losses_of_training

TORCHRUN = [
    "torch.distributed.run", "--nproc_per_node", "2", "--rdzv-backend", "c10d", "--rdzv-endpoint", "127.0.0.1:0", "-m",
]  # fmt: skip
ACCELERATE = [
    "accelerate.commands.launch", "--cpu", "--num_processes", "2", "--num_machines", "1", "--mixed_precision", "no",
    "--dynamo_backend", "no", "--main_process_port", "0", "--module",
]  # fmt: skip
CONFIGS = {
    "regression": replace(DMD, regression_steps=20, matching_steps=20, fake_updates=1),
    "adversarial": replace(GAN, matching_steps=20, fake_updates=1),
}


def launch(
    launcher: list[str], teacher: Path, data: Path, jobs: dict[Path, Config], dies: tuple[int, int] | None = None
) -> subprocess.CompletedProcess[str]:
    """Train each job's config in its folder, in two processes; wait two minutes at the most."""
    told: dict = {"teacher": str(teacher), "data": str(data), "dies": dies, "jobs": {}}
    for folder, config in jobs.items():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text(json.dumps(asdict(config)))
        told["jobs"][str(folder)] = str(folder / "config.json")
    path = next(iter(jobs)) / "told.json"
    path.write_text(json.dumps(told))
    env = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    words = [sys.executable, "-m", *launcher, "tests.distill.train_here", str(path)]
    return subprocess.run(words, capture_output=True, text=True, check=False, timeout=120, env=env)


def check_near(ours: Losses, theirs: Losses) -> None:
    """Within 1e-4 of one another, each step of each stage."""
    assert ours.keys() == theirs.keys()
    for stage, rows in ours.items():
        for step, (row, other) in enumerate(zip(rows, theirs[stage], strict=True)):
            # spread is no loss but a batch's deviation: over two halves its mean is another number
            first = {name: value for name, value in row.items() if name != "spread"}
            second = {name: value for name, value in other.items() if name != "spread"}
            assert first == pytest.approx(second, rel=1e-4, abs=1e-4), (stage, step)


@pytest.fixture(scope="module")
def alone(tiny: Path, rows: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Losses]:
    """What one process has as losses."""
    folder, workers = tmp_path_factory.mktemp("alone"), Workers.of(cpu=True)
    return {term: losses_of_training(tiny, rows, folder / term, config, workers) for term, config in CONFIGS.items()}


@pytest.mark.parametrize(
    ("launcher", "terms"),
    [(TORCHRUN, ["regression", "adversarial"]), pytest.param(ACCELERATE, ["adversarial"], marks=pytest.mark.slow)],
)
def test_two_processes_have_the_losses_of_one(
    tmp_path: Path, tiny: Path, rows: Path, alone: dict[str, Losses], launcher: list[str], terms: tuple[str, ...]
):
    done = launch(launcher, tiny, rows, {tmp_path / term: CONFIGS[term] for term in terms})
    assert done.returncode == 0, done.stderr
    for term in terms:
        assert len(alone[term]["matching"]) == 20
        assert term in alone[term]["matching"][0]
        check_near(alone[term], json.loads((tmp_path / term / "losses.json").read_text()))
        assert (tmp_path / term / "out" / "model_index.json").is_file()


@pytest.mark.parametrize("who", [pytest.param(0, marks=pytest.mark.slow), 1])
def test_a_killed_process_ends_the_run_and_it_is_gone_on_with(tmp_path: Path, tiny: Path, rows: Path, who: int):
    config = replace(DMD, regression_steps=0, matching_steps=6, fake_updates=1)
    done = launch(TORCHRUN, tiny, rows, {tmp_path: config}, dies=(3, who))
    assert done.returncode not in {0, 2}, done.stderr
    assert not (tmp_path / "losses.json").exists()
    assert not (tmp_path / "out").exists()
    kept = torch.load(tmp_path / "work" / "matching.state.pt", weights_only=True)["done"]
    assert kept in {1, 2, 3}  # the other one may have been about to save
    rest = losses_of_training(tiny, rows, tmp_path, config, Workers.of(cpu=True))  # in one process now
    whole = losses_of_training(tiny, rows, tmp_path / "whole", config, Workers.of(cpu=True))
    check_near({"matching": whole["matching"][kept:]}, rest)
