"""The loop: killed and gone on with bit for bit, losses that are not finite, states that do not fit."""

import json
import math
from pathlib import Path

import pytest
import torch

from edgestep.artifact import BadInput
from edgestep.distill import loop
from edgestep.distill.loop import Training, cosine_lr, generator_of_step, run
from edgestep.distill.workers import Workers, adamw


class Toy:
    """A linear module that is taught noise; `break_at` gives a step a loss of that value."""

    def __init__(self, folder: Path, workers: Workers, steps: int = 20, outputs: int = 2):
        torch.manual_seed(0)
        self.module = torch.nn.Linear(3, outputs)
        self.optimizer = adamw(self.module, 0.05)
        self.losses: list[float] = []
        self.workers = workers
        parts = {"module": self.module, "optimizer": self.optimizer}
        self.training = Training(folder, "toy", steps, parts, 7, workers)
        self.break_at: dict[int, float] = {}
        self.die_at = -1

    def step(self, i: int, generator: torch.Generator) -> dict[str, torch.Tensor | float]:
        if i == self.die_at:
            raise KeyboardInterrupt
        loss = (self.module(torch.randn(4, 3, generator=generator)) - 1).square().mean()
        self.workers.update(loss, self.module, self.optimizer)
        self.losses.append(float(loss.detach()))
        return {"loss": loss, "other": self.break_at.get(i, 1.0)}


@pytest.fixture(autouse=True)
def always_saved(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(loop, "SAVE_SECONDS", 0)


@pytest.mark.parametrize("die_at", [1, 13])
def test_twenty_steps_after_a_kill_have_the_same_losses_to_the_bit(tmp_path: Path, workers: Workers, die_at: int):
    whole = Toy(tmp_path / "whole", workers, 33)
    run(whole.training, whole.step)
    killed = Toy(tmp_path / "broken", workers, 33)
    killed.die_at = die_at
    with pytest.raises(KeyboardInterrupt):
        run(killed.training, killed.step)
    rest = Toy(tmp_path / "broken", workers, 33)
    run(rest.training, rest.step)
    assert len(rest.losses) == 33 - die_at >= 20
    assert killed.losses + rest.losses == whole.losses
    assert rest.training.recent == whole.training.recent
    assert torch.equal(rest.module.weight, whole.module.weight)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_good_state(tmp_path: Path, workers: Workers, value: float):
    toy = Toy(tmp_path, workers)
    toy.break_at = {5: value}
    with pytest.raises(BadInput, match=r"toy, step 5: other; .*last good state is kept in .*toy.state.pt"):
        run(toy.training, toy.step)
    state = torch.load(tmp_path / "toy.state.pt", weights_only=True)
    assert state["done"] == 5
    assert all(value.isfinite().all() for value in state["parts"]["module"].values())
    rest = Toy(tmp_path, workers)
    run(rest.training, rest.step)
    assert rest.training.done == 20


def test_without_a_state_none_is_promised(tmp_path: Path, workers: Workers):
    toy = Toy(tmp_path, workers)
    toy.break_at = {0: math.nan}
    with pytest.raises(BadInput, match="no state was saved before it"):
        run(toy.training, toy.step)
    assert not toy.training.state_file.exists()


def test_a_state_of_another_shape_is_refused(tmp_path: Path, workers: Workers):
    toy = Toy(tmp_path, workers)
    run(toy.training, toy.step)
    other = Toy(tmp_path, workers, outputs=5)
    with pytest.raises(BadInput, match="another config"):
        run(other.training, other.step)
    assert torch.load(tmp_path / "toy.state.pt", weights_only=True)["done"] == 20


def test_looks_are_where_they_are_due_and_the_log_has_the_last_step(tmp_path: Path, workers: Workers):
    toy, looks = Toy(tmp_path, workers, 7), []
    toy.training.look_every, toy.training.look = 3, looks.append
    run(toy.training, toy.step)
    assert looks == [3, 6, 7]
    row = json.loads((tmp_path / "toy.log.jsonl").read_text().splitlines()[-1])
    smooth = toy.losses[0]
    for loss in toy.losses[1:]:
        smooth = 0.95 * smooth + 0.05 * loss
    assert row == {"step": 7, "loss": pytest.approx(smooth, abs=1e-6), "other": pytest.approx(1.0)}
    run(toy.training, toy.step)  # nothing left: nothing done
    assert len(toy.losses) == 7


def test_steps_draw_their_own_numbers():
    drawn = [torch.rand(1, generator=generator_of_step(seed, step)).item() for seed in (0, 1) for step in range(50)]
    assert len(set(drawn)) == 100


@pytest.mark.parametrize(("step", "share"), [(0, 0.1), (9, 1.0), (10, 1.0), (60, 0.51), (110, 0.02)])
def test_the_learning_rate_warms_up_and_falls_along_a_cosine(step: int, share: float):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    cosine_lr(optimizer, step, 110, 0.4, warmup=10)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.4 * share)
