"""Artifact and reference cases -> drawings, made in a process of their own: its crash or silence is one line here."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from edgestep.harness.reference.bundle import Reference, ReferenceCase
from edgestep.harness.worker_process import Job, WorkerFailed, WorkerProcess
from edgestep.runtimes.drawing import Drawing

WORKER = "edgestep.harness.parity.drawing_worker"
RUNNER = "edgestep.harness.parity.drawn_artifact:ArtifactDrawer"
TIMEOUT_S = 900.0


def draw_apart(
    folder: Path,
    name: str,
    reference: Reference,
    *,
    runtime: str,
    threads: int | None = None,
    timeout_s: float = TIMEOUT_S,
    tell: Callable[[str], None] = lambda _: None,
) -> list[Drawing]:
    """Draw every case with the artifact in `folder`, called `name`; `timeout_s` for loading and for each case.

    Raises WorkerFailed, naming the case, where the process crashes, is killed, says nothing in time or fails.
    """
    options = {"folder": str(folder), "runtime": runtime, "threads": threads}
    job = Job(name, RUNNER, options, threads or 0, runtime)
    drawings, at = [], "load it"
    with tempfile.TemporaryDirectory(prefix="edgestep-parity-") as between:
        try:
            with WorkerProcess(job, timeout_s, WORKER) as worker:
                for i, case in enumerate(reference.cases):
                    tell(f"parity: {name}, case {i + 1} of {len(reference.cases)}")
                    at = f"draw {case.name}"
                    drawings.append(_drawn(worker, case, Path(between)))
        except WorkerFailed as error:
            raise WorkerFailed(f"{runtime} did not {at}: {' '.join(str(error).splitlines()[:1])}") from error
    return drawings


def _drawn(worker: WorkerProcess, case: ReferenceCase, between: Path) -> Drawing:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file, save_file

    inputs, outputs = between / "inputs.safetensors", between / "outputs.safetensors"
    outputs.unlink(missing_ok=True)
    given = {**case.inputs, "reference_x0": case.x0}
    save_file({name: np.ascontiguousarray(array) for name, array in given.items()}, inputs)
    told = worker.ask({"do": "draw", "inputs": str(inputs), "outputs": str(outputs)})
    try:
        drawn = load_file(outputs)
    except (OSError, SafetensorError, ValueError) as error:
        raise WorkerFailed(f"what it drew cannot be read ({error})") from error
    nothing = np.zeros(0, np.uint8)
    return Drawing(
        prompt_embeds=drawn.get("prompt_embeds"),
        x0=drawn.get("x0"),
        sample=drawn.get("sample"),
        image=drawn.get("image", nothing),
        decoded=drawn.get("decoded"),
        notes=tuple(told.get("notes", ())),
    )
