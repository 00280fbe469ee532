"""The estimate, with a clock that is told what time it is."""

import torch

from edgestep.distill.estimate import Estimate, estimate, peak_memory
from edgestep.distill.loop import generator_of_step
from edgestep.distill.workers import Workers

CPU = torch.device("cpu")


def test_the_warm_up_is_not_counted_and_rare_work_is():
    now, drawn = 0.0, []

    def step(i: int, generator: torch.Generator) -> dict[str, float]:
        nonlocal now
        now += 100.0 if i < 2 else 4.0 if i == 3 else 1.0
        drawn.append(torch.rand(1, generator=generator))
        return {"loss": 0.0}

    found = estimate(step, 1000, Workers.of(cpu=True), seed=7, clock=lambda: now)
    assert found.seconds_per_step == (4 + 4 * 1) / 5
    assert found.total_seconds == 1600
    assert str(found).endswith("1.6 s a step, 27 min for 1000 steps on cpu")
    assert [float(x) for x in drawn] == [float(torch.rand(1, generator=generator_of_step(7, i))) for i in range(7)]


def test_the_peak_holds_what_a_step_took_and_gave_back():
    before = peak_memory(CPU)

    def step(i: int, generator: torch.Generator) -> dict[str, float]:
        return {"loss": float(torch.ones(80_000_000 if i == 4 else 1).sum())}

    found = estimate(step, 10, Workers.of(cpu=True))
    assert found.memory_bytes >= 300_000_000
    assert peak_memory(CPU) == found.memory_bytes >= before


def test_times_are_spoken():
    for seconds, said in ((0.01, "1 s"), (3.0, "5 min"), (180.0, "5 h 0 min")):
        assert f", {said} for 100 steps" in str(Estimate(2**30, seconds, 100, "cpu"))
