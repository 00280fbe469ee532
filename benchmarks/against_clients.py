"""One step, prompt to picture: our artifacts against PyTorch diffusers, optimum and openvino_genai.

    python benchmarks/against_clients.py --rounds 20 --calls 5
    python benchmarks/against_clients.py build/demo/artifacts/emoji-onnx-w8a8-fused
    python benchmarks/against_clients.py --isa AVX2

Ours, where none is given: the fused form in float32 and in w8a8, ONNX and OpenVINO.

optimum runs what `optimum-cli export onnx` makes of the same checkpoint; openvino_genai runs our OpenVINO split
artifact and, where it is given (optimum-intel and optimum-onnx want different versions of optimum: it is made in an
environment of its own), what `optimum-cli export openvino` makes of the checkpoint: once as it comes (it takes bfloat16
where the CPU has it) and once held to float32. Each client lives in a
process of its own, with the same number of threads; only one works at any time, and they take turns. Their pictures of
the same prompt and noise are compared with PyTorch's first: what draws something else is not timed. The ratio is that
of the medians over the rounds, with its 95 % bootstrap interval.

`--isa AVX2` stands in for a processor without VNNI and bfloat16: oneDNN, which computes nearly everything in OpenVINO,
is held to those instructions, activations are not rounded as they come, and nothing computes in bfloat16. What is not
oneDNN's (reductions, some linear layers, all of ONNX Runtime) still uses what the processor has.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from edgestep.artifact import BadInput, read_artifact
from edgestep.export.run import export
from edgestep.export.source.checkpoint import Checkpoint, checkpoint_folder, open_checkpoint
from edgestep.harness.figures import interval_text, measure_text, ratio_text, time_text
from edgestep.harness.latency.measure import TIMEOUT_S
from edgestep.harness.parity.measures import psnr_db
from edgestep.harness.reference.prompts import PROMPTS
from edgestep.harness.reference.record import noise_numbered
from edgestep.harness.statistics import ratio_interval
from edgestep.harness.worker_process import Job, WorkerFailed, WorkerProcess
from edgestep.quantize.run import quantize
from edgestep.quantize.schemes import SAMPLES
from edgestep.ship.calibration import calibration_from_prompts

AGREE_DB = 25.0
"""Pictures below this are of something else. INT8 and bfloat16 have their own gates, in `edgestep parity`."""
FLOAT32 = {"INFERENCE_PRECISION_HINT": "f32"}
"""OpenVINO's properties without bfloat16."""
OURS = ("onnx", "openvino")
"""The formats of which the fused form is made, in float32 and w8a8, where no artifact is given."""
WIDTH = 140
"""Columns of the table where the output is no terminal."""


def main() -> int:
    """Make what is missing, compare the pictures, time, print the table."""
    given = _arguments()
    told = Console(stderr=True)
    if given.isa:
        os.environ["ONEDNN_MAX_CPU_ISA"] = given.isa
    # The workers import client_runners from here.
    os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    with tempfile.TemporaryDirectory(prefix="edgestep-clients-") as scratch:
        try:
            jobs = _jobs(given, Path(scratch), told)
            with ExitStack() as stack:
                workers = _started(jobs, stack, told)
                agreement = _agreement(jobs, Path(scratch))
                table = _table(jobs, agreement, _timed(workers, given.rounds, given.calls))
        except (BadInput, WorkerFailed) as error:
            told.print(Text(str(error)))
            return 2
    console = Console(width=None if sys.stdout.isatty() else WIDTH)
    console.print(table)
    held = f", oneDNN held to {given.isa}" if given.isa else ""
    console.print(f"{given.rounds} rounds of {given.calls} calls, {given.threads} threads each, {given.prompt!r}{held}")
    return 0


def _jobs(given: argparse.Namespace, scratch: Path, told: Console) -> list[Job]:
    """Return the clients, ours first, PyTorch next."""
    checkpoint = open_checkpoint(checkpoint_folder(given.checkpoint))
    ours = [(read_artifact(folder).name, folder) for folder in given.artifacts]
    ours = ours or _ours(checkpoint, given.folder or scratch, told)
    without = {"without_vnni": True} if given.isa else {}
    _, genai = _exported(checkpoint, "openvino", "split", given.folder or scratch)
    optimum = _optimum_exported(checkpoint.folder, (given.folder or scratch) / "optimum", told)
    clients = [(name, "EdgestepRunner", folder, without) for name, folder in ours]
    clients += [
        ("PyTorch diffusers", "DiffusersRunner", checkpoint.folder, {}),
        ("optimum", "OptimumRunner", optimum, {}),
        ("optimum, threads that sleep", "OptimumRunner", optimum, {"session.force_spinning_stop": "1"}),
    ]
    contract = read_artifact(genai).contract
    folders = {"on ours": genai} | ({"on optimum-intel's": given.optimum_intel} if given.optimum_intel else {})
    for whose, folder in folders.items():
        size = {"size": contract.image_size}
        as_it_comes = [] if given.isa else [(f"openvino_genai {whose}", "GenaiRunner", folder, size)]
        in_float32 = (f"openvino_genai {whose}, float32", "GenaiRunner", folder, {**size, **FLOAT32})
        clients += [*as_it_comes, in_float32]
    noise = scratch / "noise.npy"
    np.save(noise, noise_numbered(0, contract.latent_shape))
    common = {"threads": given.threads, "prompt": given.prompt, "noise": str(noise)}
    return [
        Job(
            name,
            f"client_runners:{runner}",
            {"folder": str(folder), "picture": str(scratch / f"{i}.npy"), **common, **options},
            given.threads,
        )
        for i, (name, runner, folder, options) in enumerate(clients)
    ]


def _exported(checkpoint: Checkpoint, format: str, layout: str, parent: Path) -> tuple[str, Path]:
    """Return (name, folder) of our float32 export; what lies there already is used."""
    out = parent / f"{format}-{layout}"
    if not out.is_dir():
        export(checkpoint, format=format, precision="fp32", layout=layout, target="x86", out=out)
    return read_artifact(out).name, out


def _ours(checkpoint: Checkpoint, parent: Path, told: Console) -> list[tuple[str, Path]]:
    """Return (name, folder) of the fused artifacts: float32, then w8a8 of each."""
    made = [_exported(checkpoint, format, "fused", parent) for format in OURS]
    for format, (_, folder) in zip(OURS, tuple(made), strict=True):
        out = parent / f"{format}-w8a8"
        if not out.is_dir():
            told.print(Text(f"quantizing {format} to w8a8", style="dim"))
            feeds = calibration_from_prompts(PROMPTS, SAMPLES, strict=False).feeds(folder)
            quantize(folder, scheme="w8a8", out=out, feeds=feeds)
        made.append((read_artifact(out).name, out))
    return made


def _optimum_exported(checkpoint: Path, out: Path, told: Console) -> Path:
    """Return the folder that optimum's own exporter makes of the checkpoint."""
    if out.is_dir():
        return out
    told.print(Text("optimum exports the checkpoint", style="dim"))
    command = [sys.executable, "-m", "optimum.commands.optimum_cli", "export", "onnx", "--task", "text-to-image"]
    done = subprocess.run([*command, "--model", str(checkpoint), str(out)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise BadInput(f"got no export from optimum ({done.stderr.strip()[-200:]}); pip install 'edgestep[interop]'")
    return out


def _started(jobs: Sequence[Job], stack: ExitStack, told: Console) -> list[WorkerProcess]:
    workers = []
    for job in jobs:
        told.print(Text(f"loading {job.name}", style="dim"))
        workers.append(stack.enter_context(WorkerProcess(job, TIMEOUT_S)))
    return workers


def _agreement(jobs: Sequence[Job], scratch: Path) -> list[float]:
    """Return each picture's PSNR in dB against PyTorch's; raise BadInput where one shows something else."""
    pictures = [np.load(scratch / f"{i}.npy").astype(np.float64) for i in range(len(jobs))]
    torch = next(picture for job, picture in zip(jobs, pictures, strict=True) if "Diffusers" in job.runner)
    found = [psnr_db(torch, picture) for picture in pictures]
    for job, value in zip(jobs, found, strict=True):
        if not value >= AGREE_DB:
            raise BadInput(f"got a picture of {job.name} at {value:.1f} dB; expected {AGREE_DB:g} dB against PyTorch's")
    return found


def _timed(workers: Sequence[WorkerProcess], rounds: int, calls: int) -> list[list[float]]:
    """Return for each worker the median seconds of its calls in each round."""
    medians: list[list[float]] = [[] for _ in workers]
    for _ in range(rounds):
        for worker, own in zip(workers, medians, strict=True):
            own.append(float(np.median(worker.run(calls)["samples_s"])))
    return medians


def _table(jobs: Sequence[Job], agreement: Sequence[float], medians: Sequence[Sequence[float]]) -> Table:
    """Return one row per client; a column for each of our artifacts says how many times faster that one is."""
    ours = [i for i, job in enumerate(jobs) if "Edgestep" in job.runner]
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("client", no_wrap=True)
    # Under each of ours: how many times faster than the row's client it is.
    for column in ("PSNR", "p50", *(jobs[i].name.partition("-")[2] for i in ours)):
        table.add_column(column, justify="right")
    for job, psnr, own in zip(jobs, agreement, medians, strict=True):
        ratios = (_ratio(own, medians[i]) for i in ours)
        table.add_row(job.name, measure_text("psnr_db", psnr), time_text(float(np.median(own))), *ratios)
    return table


def _ratio(over: Sequence[float], of: Sequence[float]) -> str:
    """Return `2.10× (2.05–2.16×)`: median(over) / median(of) with its interval."""
    if over is of:
        return ""
    ratio = float(np.median(over) / np.median(of))
    return f"{ratio_text(ratio)} ({interval_text(ratio_interval(over, of))})"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("artifacts", type=Path, nargs="*", help="ours; float32 fused ONNX and OpenVINO where none")
    parser.add_argument("--checkpoint", default="emoji", help="what they were exported from")
    parser.add_argument("--folder", type=Path, help="where exports are kept and found again; else made for this run")
    parser.add_argument(
        "--optimum-intel", type=Path, help="folder of `optimum-cli export openvino`; needs its own venv"
    )
    parser.add_argument("--prompt", default="noto grinning face", help="what is drawn")
    parser.add_argument("--threads", type=int, default=2, help="the same for each client")
    parser.add_argument("--isa", choices=("AVX2", "AVX2_VNNI", "AVX512_CORE"), help="what oneDNN may use at most")
    parser.add_argument("--rounds", type=int, default=20, help="turns of each client")
    parser.add_argument("--calls", type=int, default=5, help="pictures in each turn")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
