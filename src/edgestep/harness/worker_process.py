"""The parent's side of a worker: start it, ask it, and turn a crash, silence or nonsense into one reason."""

import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

WORKER = "edgestep.harness.latency.latency_worker"
KILLED = 9
"""SIGKILL, which not every system's signal module has."""


class WorkerFailed(Exception):
    """The worker crashed, was killed, did not answer in time, or said that it failed: the reason in one line."""


@dataclass(frozen=True)
class Job:
    """What a worker runs. `runner` is "module:Class"; `options` are that class's own, and plain JSON values.

    `threads` 0 leaves their number to the runtime.
    """

    name: str
    runner: str
    options: Mapping[str, Any]
    threads: int
    runtime: str = ""


class WorkerProcess:
    """A fresh Python process with one job loaded; a context manager that leaves no process behind.

    `worker` is the module that it runs; `timeout_s` holds for loading and for each answer. `started` is the worker's
    first answer: the latency worker's holds import_s, load_s, compile_s and first_s. Raises WorkerFailed.
    """

    def __init__(self, job: Job, timeout_s: float, worker: str = WORKER) -> None:
        self._job, self._timeout_s, self._worker = job, timeout_s, worker
        self._answers: queue.Queue[str | None] = queue.Queue()

    def __enter__(self) -> Self:
        self._stderr = tempfile.TemporaryFile("w+", errors="replace")
        request = json.dumps({"runner": self._job.runner, "options": dict(self._job.options)})
        self._process = subprocess.Popen(
            # -P: what lies in the user's folder must not shadow what the worker imports.
            [sys.executable, "-P", "-m", self._worker, request],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            text=True,
            env=_environment(self._job.threads),
        )
        threading.Thread(target=self._listen, daemon=True).start()
        try:
            self.started = self._answer()
        except BaseException:
            self._stop()
            raise
        return self

    def run(self, runs: int, seconds: float = 0.0) -> dict[str, Any]:
        """Return {"samples_s": [...], "components": {name: [...]}} of at least that many runs and seconds."""
        return self.ask({"do": "run", "runs": runs, "seconds": seconds})

    def end(self) -> dict[str, Any]:
        """Return the peak memory, {"anonymous", "resident", "source"}, and let the worker end."""
        return self.ask({"do": "end"})

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def ask(self, order: Mapping[str, Any]) -> dict[str, Any]:
        """Send one order and return the answer to it."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(order) + "\n")
            self._process.stdin.flush()
        except OSError as error:
            raise WorkerFailed(self._last_words()) from error
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        try:
            line = self._answers.get(timeout=self._timeout_s)
        except queue.Empty as error:
            raise WorkerFailed(f"the worker of {self._job.name} gave no answer in {self._timeout_s:g} s") from error
        if line is None:
            raise WorkerFailed(self._last_words())
        try:
            answer = json.loads(line)
        except ValueError as error:
            raise WorkerFailed(f"the worker of {self._job.name} answered {line[:80]!r}") from error
        if "failure" in answer:
            raise WorkerFailed(f"{self._job.name} failed: {answer['failure']}")
        return answer

    def _listen(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                self._answers.put(line)
        self._answers.put(None)

    def _last_words(self) -> str:
        try:
            status = self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            return f"the worker of {self._job.name} closed its output"
        how = f"was killed by {_signal_name(-status)}" if status < 0 else f"ended with status {status}"
        how += ", as a system out of memory does" if -status == KILLED else ""
        self._stderr.seek(0)
        said = [line.strip() for line in self._stderr.read().splitlines() if line.strip()]
        return f"the worker of {self._job.name} {how}" + (f": {said[-1]}" if said else "")

    def _stop(self) -> None:
        if self._process.stdin is not None:
            with suppress(OSError):
                self._process.stdin.close()
        try:
            self._process.wait(timeout=1)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._stderr.close()


def _environment(threads: int) -> dict[str, str]:
    chosen = {"OMP_NUM_THREADS": str(threads)} if threads else {}
    return {**os.environ, **chosen, "HF_HUB_OFFLINE": "1"}


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
