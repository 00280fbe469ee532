"""Peak memory and time of exporting full-size models, each in a fresh process, against its bar.

    python benchmarks/export_memory.py                      every row; about 20 minutes on 2 cores, 30 GB of disk
    python benchmarks/export_memory.py sd15-unet-fp16       chosen rows
    python benchmarks/export_memory.py sd15-pipeline optimum    the same folder through both, and the ratios

Memory is VmHWM, what the kernel says was resident at the most, of the process and its children together. Models are
published configs with random weights (full_size.py). optimum is `optimum-cli export onnx` with its own defaults.
"""

import argparse
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from full_size import write_full_size
from rich.console import Console
from rich.table import Table
from watched_process import GIB, Taken, watched


@dataclass(frozen=True)
class Row:
    """What is exported from which checkpoint, and the bar in GiB and seconds, 0 for none."""

    checkpoint: str
    what: str
    gib: float = 0.0
    seconds: float = 0.0


ROWS: dict[str, Row] = {
    "sd15-unet-fp32": Row("sd15", "onnx fp32 unet", 1.0, 90),
    "sd15-unet-fp16": Row("sd15", "onnx fp16 unet", 1.0, 90),
    "sdxl-unet-fp16": Row("sdxl", "onnx fp16 unet", 1.2, 180),
    "sd15-pipeline": Row("sd15", "onnx fp16", 1.2),
    "optimum": Row("sd15", "optimum"),
    "sd15-openvino-fp32": Row("sd15", "openvino fp32 unet", 4.0),
    "sd15-openvino-fp16": Row("sd15", "openvino fp16 unet", 4.0),
    "sdxl-pipeline": Row("sdxl", "onnx fp16"),
}
"""Name -> row. Whole pipelines go through the command line, single graphs through the same writers."""


def main() -> int:
    """Write the checkpoints that are missing, run each row, print the table."""
    given = _arguments()
    if given.child:
        _export_graph(*given.child)
        return 0
    console, told = Console(), Console(stderr=True)
    taken: dict[str, Taken] = {}
    with tempfile.TemporaryDirectory(prefix="edgestep-memory-", dir=given.scratch) as scratch:
        parent = given.folder or Path(scratch)
        for name in given.rows or ROWS:
            row = ROWS[name]
            checkpoint = write_full_size(row.checkpoint, parent / row.checkpoint)
            told.print(f"{name} ...", style="dim")
            out = Path(scratch) / "out"
            taken[name] = watched(_command(row, checkpoint, out), out)
            # At once: a row that is killed, or fails, then takes its own figures alone.
            told.print(f"{name}: {taken[name].peak / GIB:.2f} GiB, {taken[name].seconds:.0f} s")
            shutil.rmtree(out, ignore_errors=True)
    console.print(_table(taken))
    if {"sd15-pipeline", "optimum"} <= set(taken):
        ours, theirs = taken["sd15-pipeline"], taken["optimum"]
        memory, seconds = theirs.peak / ours.peak, theirs.seconds / ours.seconds
        console.print(f"optimum takes {memory:.1f} times our memory (bar: 8) and {seconds:.1f} times our time (bar: 2)")
    return 0


def _command(row: Row, checkpoint: Path, out: Path) -> list[str]:
    if row.what == "optimum":
        command = [sys.executable, "-m", "optimum.commands.optimum_cli", "export", "onnx", "--task", "text-to-image"]
        return [*command, "--model", str(checkpoint), str(out)]
    format, precision, *graph = row.what.split()
    if graph:
        return [sys.executable, __file__, "--child", str(checkpoint), format, precision, *graph, str(out)]
    options = ["--format", format, "--precision", precision, "--layout", "split", "--out", str(out)]
    return [sys.executable, "-m", "edgestep.cli", "export", str(checkpoint), *options]


def _export_graph(checkpoint: str, format: str, precision: str, graph: str, out: str) -> None:
    """Write one graph by the writer that `edgestep export` uses; runs in the process that is measured."""
    from edgestep.export.graph.graphs import Graphs
    from edgestep.export.recipe.contract import contract_from_checkpoint
    from edgestep.export.run import EXPORTERS
    from edgestep.export.source.checkpoint import open_checkpoint

    opened = open_checkpoint(Path(checkpoint))
    graphs = Graphs(opened, contract_from_checkpoint(opened))
    EXPORTERS[format].write(Path(out), graphs, (graph,), precision)


def _table(taken: dict[str, Taken]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("row", no_wrap=True)
    for column in ("peak GiB", "bar", "seconds", "bar", "written GB"):
        table.add_column(column, justify="right")
    for name, one in taken.items():
        row = ROWS[name]
        bars = (f"{bar:g}" if bar else "" for bar in (row.gib, row.seconds))
        gib, seconds = next(bars), next(bars)
        table.add_row(name, f"{one.peak / GIB:.2f}", gib, f"{one.seconds:.0f}", seconds, f"{one.written / 1e9:.2f}")
    return table


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("rows", nargs="*", choices=[*ROWS, []], help="all of them where none is named")
    parser.add_argument(
        "--folder", type=Path, help="where checkpoints are kept and found again; else made for this run"
    )
    parser.add_argument(
        "--scratch", type=Path, help="where what is exported is written, and removed; else the system's"
    )
    parser.add_argument("--child", nargs=5, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
