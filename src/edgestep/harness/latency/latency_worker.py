"""The fresh process of one measurement: python -m edgestep.harness.latency.latency_worker JOB, JSON lines in and out.

On start it imports, loads, draws first and twice more while memory is sampled, and says so in one line. Then it answers
`{"do": "run", "runs": n, "seconds": s}` with the samples of at least n runs and s seconds, and `{"do": "end"}` with its
peak memory. An exception is said as `{"failure": ...}`; what a crash leaves is for the parent to tell.
"""

import importlib
import json
import sys
import time
from collections.abc import Mapping
from typing import Any, Protocol

from edgestep.harness.latency.memory import PeakMemory, peak_resident_bytes
from edgestep.harness.worker_streams import reserved_stdout, say

WARM_UP_RUNS = 2
MAX_RUNS = 2000


class Runner(Protocol):
    """What is measured: made with the job's options, it has done nothing yet."""

    def imports(self) -> None:
        """Import the runtime."""
        ...

    def load(self) -> float | None:
        """Load; return the seconds of it that were compiling, None where that cannot be told."""
        ...

    def draw(self) -> dict[str, float]:
        """Draw one picture; return the seconds of each component."""
        ...

    def close(self) -> None:
        """Free what was loaded."""
        ...


def main(arguments: list[str]) -> int:
    """Serve the job given as JSON in the only argument until told to end; return the exit status."""
    out = reserved_stdout()
    try:
        job = json.loads(arguments[0])
        module, _, name = job["runner"].partition(":")
        runner: Runner = getattr(importlib.import_module(module), name)(**job["options"])
        with PeakMemory() as peak:
            say(out, _start(runner))
        for line in sys.stdin:
            order = json.loads(line)
            if order["do"] == "end":
                resident, source = peak_resident_bytes()
                memory = {"anonymous": peak.anonymous, "resident": resident, "source": source}
                runner.close()
                say(out, memory)
                return 0
            say(out, _run(runner, int(order["runs"]), float(order["seconds"])))
    except Exception as error:  # the parent reports it; a traceback is in stderr for a person
        say(out, {"failure": f"{type(error).__name__}: {error}"})
        raise
    return 0


def _start(runner: Runner) -> Mapping[str, Any]:
    import_s, _ = _timed(runner.imports)
    load_s, compile_s = _timed(runner.load)
    first_s, _ = _timed(runner.draw)
    for _ in range(WARM_UP_RUNS):
        runner.draw()
    return {"import_s": import_s, "load_s": load_s, "compile_s": compile_s, "first_s": first_s}


def _run(runner: Runner, runs: int, seconds: float) -> Mapping[str, Any]:
    samples: list[float] = []
    components: dict[str, list[float]] = {}
    end = time.perf_counter() + seconds
    while len(samples) < runs or (time.perf_counter() < end and len(samples) < MAX_RUNS):
        whole, parts = _timed(runner.draw)
        samples.append(whole)
        for name, part in parts.items():
            components.setdefault(name, []).append(part)
    return {"samples_s": samples, "components": components}


def _timed(function: Any) -> tuple[float, Any]:
    start = time.perf_counter_ns()
    value = function()
    return (time.perf_counter_ns() - start) / 1e9, value


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
