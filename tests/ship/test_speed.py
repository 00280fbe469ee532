"""Which artifacts are compared with the teacher."""

from edgestep.harness.results import FAILED, PASSED, LatencyResult, ParityResult
from edgestep.ship.plan import jobs_from_targets
from edgestep.ship.speed import fastest
from edgestep.targets import TARGETS


def test_every_target_sends_its_fastest_that_passed():
    jobs = [job for job in jobs_from_targets("emoji", [TARGETS["x86"], TARGETS["intel"]]) if job.shown]
    seconds = {job.name: 0.02 + 0.001 * index for index, job in enumerate(jobs)}
    x86, intel = ([job.name for job in jobs if job.target.name == name] for name in ("x86", "intel"))
    seconds |= {x86[0]: 0.001, x86[1]: 0.010, x86[2]: 0.002, intel[1]: 0.005}
    latency = {name: LatencyResult("real", p50_s=took) for name, took in seconds.items()}
    latency[x86[2]] = LatencyResult("real", p50_s=0.002, failure="it crashed")
    checked = {name: ParityResult(FAILED if name == x86[0] else PASSED) for name in seconds}
    assert [job.name for job in fastest(jobs, latency, checked)] == [x86[1], intel[1]]
    assert fastest(jobs, latency, {name: ParityResult(FAILED) for name in seconds}) == ()
