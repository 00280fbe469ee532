"""The Core ML evaluator against PyTorch eager: the same network, the same feeds, interleaved in one run.

    python benchmarks/mil_evaluator.py                            the bundled generator, UNet and fused
    python benchmarks/mil_evaluator.py sd15-unet --folder /tmp/full   Stable Diffusion 1.5's UNet at random weights

The packages are float16 exports; `numerics` is the evaluator's: fp32 rounds nothing, fp16 every float16 tensor after
every operation. PyTorch computes in float32. Each side lives in a process of its own and they take turns; a ratio is
evaluator over PyTorch, of the medians over the rounds, with its 95 % bootstrap interval. Agreement is the SQNR of the
evaluator's output against PyTorch's, memory what the evaluator's process had anonymous and resident at the peak.
"""

import argparse
import math
import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from full_size import write_full_size
from rich.console import Console
from rich.table import Table
from rich.text import Text

from edgestep.artifact import BadInput
from edgestep.export.coreml.folder import write_coreml
from edgestep.export.graph.graphs import Graphs
from edgestep.export.recipe.contract import contract_from_checkpoint
from edgestep.export.source.checkpoint import checkpoint_folder, open_checkpoint
from edgestep.harness.figures import time_text
from edgestep.harness.latency.measure import Comparison, compare_interleaved
from edgestep.harness.worker_process import Job

RATIO_BAR, GIB_BAR = 2.0, 10.0
GIB = 2**30
NUMERICS = ("fp32", "fp16")
ROUNDS = {"emoji-unet": 15, "emoji-fused": 15, "sd15-unet": 3}
"""Row -> turns of each side, where none are given."""


@dataclass(frozen=True)
class Network:
    """A graph of a checkpoint, and the class that runs it in PyTorch."""

    checkpoint: str
    graph: str
    runner: str


NETWORKS: dict[str, Network] = {
    "emoji-unet": Network("emoji", "unet", "UNetRunner"),
    "emoji-fused": Network("emoji", "generator", "PipelineRunner"),
    "sd15-unet": Network("sd15", "unet", "UNetRunner"),
}
"""Row -> network. Without names all but the large one are measured."""


def main() -> int:
    """Export, measure each row in both numerics, print the table."""
    given = _arguments()
    told = Console(stderr=True)
    os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("network", no_wrap=True)
    for column in ("numerics", "PyTorch p50", "evaluator p50", "ratio", "95 %", "SQNR dB", "anonymous GiB", "resident"):
        table.add_column(column, justify="right")
    with tempfile.TemporaryDirectory(prefix="edgestep-evaluator-", dir=given.scratch) as scratch:
        for name in given.rows or ("emoji-unet", "emoji-fused"):
            try:
                _add_rows(table, name, given, Path(scratch), told)
            except BadInput as error:
                told.print(Text(str(error)))
                return 2
    console = Console(width=None if sys.stdout.isatty() else 140)
    console.print(table)
    console.print(f"bars: ratio {RATIO_BAR:g}, {GIB_BAR:g} GiB; {given.threads} threads each")
    return 0


def _add_rows(table: Table, name: str, given: argparse.Namespace, scratch: Path, told: Console) -> None:
    network = NETWORKS[name]
    parent = given.folder or scratch
    own = network.checkpoint == "emoji"
    checkpoint = checkpoint_folder("emoji") if own else write_full_size(network.checkpoint, parent / network.checkpoint)
    told.print(Text(f"exporting {name}", style="dim"))
    package = _package(checkpoint, network.graph, scratch / name)
    for numerics in given.numerics or NUMERICS:
        of, over = _jobs(package, checkpoint, network, numerics, given.threads, scratch)
        compared = compare_interleaved(
            of, over, rounds=given.rounds or ROUNDS[name], tell=lambda line: told.print(Text(line, style="dim"))
        )
        if compared.ratio.failure:
            raise BadInput(compared.ratio.failure)
        table.add_row(name, numerics, *_cells(compared, _sqnr_db(scratch)))


def _package(checkpoint: Path, graph: str, folder: Path) -> Path:
    opened = open_checkpoint(checkpoint)
    written = write_coreml(folder, Graphs(opened, contract_from_checkpoint(opened)), (graph,), "fp16")
    return folder / written.components[0].file


def _jobs(
    package: Path, checkpoint: Path, network: Network, numerics: str, threads: int, scratch: Path
) -> tuple[Job, Job]:
    """Return the evaluator's job and PyTorch's."""
    ours = {"package": str(package), "numerics": numerics, "threads": threads, "saved": str(scratch / "ours.npy")}
    theirs = {"checkpoint": str(checkpoint), "threads": threads, "saved": str(scratch / "theirs.npy")}
    return (
        Job(f"evaluator, {numerics}", "evaluator_runners:EvaluatorRunner", ours, threads, "mil-evaluator"),
        Job("PyTorch eager", f"evaluator_runners:{network.runner}", theirs, threads, "pytorch"),
    )


def _sqnr_db(scratch: Path) -> float:
    """Return 10 log10(sum reference^2 / sum error^2) of the two first outputs."""
    reference, out = (np.load(scratch / f"{side}.npy").astype(np.float64) for side in ("theirs", "ours"))
    if reference.shape != out.shape:
        raise BadInput(f"got {out.shape} of the evaluator; expected PyTorch's {reference.shape}; report it")
    error = float(((reference - out) ** 2).sum())
    return math.inf if error == 0 else 10 * math.log10(float((reference**2).sum()) / error)


def _cells(compared: Comparison, sqnr_db: float) -> tuple[str, ...]:
    """Return the cells of a row; the ratio is inverted, since the harness says how many times faster."""
    low, high = (1 / end for end in reversed(compared.ratio.interval))
    anonymous, resident = compared.of.peak_anonymous_bytes or 0, compared.of.peak_resident_bytes or 0
    return (
        time_text(compared.over.p50_s),
        time_text(compared.of.p50_s),
        f"{1 / compared.ratio.ratio:.2f}",
        f"{low:.2f} to {high:.2f}",
        f"{sqnr_db:.1f}",
        f"{anonymous / GIB:.2f}",
        f"{resident / GIB:.2f}",
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("rows", nargs="*", choices=[*NETWORKS, []], help="the bundled generator's where none is named")
    parser.add_argument("--numerics", action="append", choices=NUMERICS, help="one alone; both by default")
    parser.add_argument("--rounds", type=int, help="turns of each side")
    parser.add_argument("--threads", type=int, default=2, help="the same for both sides")
    parser.add_argument("--folder", type=Path, help="where the large checkpoint is kept and found again")
    parser.add_argument("--scratch", type=Path, help="where packages are written, and removed; else the system's")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
