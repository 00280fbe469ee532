"""Memory and time of quantizing the UNet of Stable Diffusion 1.5, 860 M parameters, random weights.

    python benchmarks/quantize_memory.py --folder /tmp/full            the published config, float32
    python benchmarks/quantize_memory.py --parent D --only 'ONNX w8'   an artifact that is there already
    python benchmarks/quantize_memory.py --small                       the bundled generator: a quick run

Each row is a fresh process that runs what `edgestep quantize` runs for the UNet alone. Memory is as in
watched_process.py; the bar of w8 is on anonymous bytes: mapped weights can be read again from their file. Those of
static quantization, through NNCF, are on all that is resident and on time: measure it on a machine with nothing else
to do. Seconds of CPU, of all threads together, hang less on what else runs.
"""

import argparse
import math
import resource
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from full_size import write_full_size
from rich.console import Console
from rich.table import Table
from watched_process import GIB, Taken, watched

from edgestep.artifact import read_artifact
from edgestep.export.source.checkpoint import checkpoint_folder

SAMPLES = 4
"""What static quantization is calibrated on here: each takes as long as the next, and no more memory."""


@dataclass(frozen=True)
class Way:
    """`quantize(source, final)` of a graph of `format`; the most GiB, anonymous or resident, and seconds it takes."""

    format: str
    quantize: Callable[[Path, Path], None]
    anonymous_gib: float = math.inf
    resident_gib: float = math.inf
    seconds: float = math.inf

    def keeps(self, taken: Taken) -> bool:
        """Tell whether everything is within its bar."""
        within = taken.anonymous <= self.anonymous_gib * GIB and taken.peak <= self.resident_gib * GIB
        return within and taken.seconds <= self.seconds

    @property
    def bars(self) -> str:
        """Return the bars in words."""
        bars = [(self.anonymous_gib, "GiB anonymous"), (self.resident_gib, "GiB resident"), (self.seconds, "s")]
        return ", ".join(f"{bar:g} {of}" for bar, of in bars if bar < math.inf)


@dataclass(frozen=True)
class Row:
    """What a way took, the bytes of the float graph with its weights, and seconds of CPU of all threads."""

    taken: Taken
    before: int
    cpu_seconds: float


def main() -> int:
    """Quantize in each way, and print the table; 1 where a way took more than its bar."""
    given = _arguments()
    if given.child:
        WAYS[given.child[0]].quantize(*map(Path, given.child[1:]))
        return 0
    told = Console(stderr=True)
    rows: dict[str, Row] = {}
    with tempfile.TemporaryDirectory(prefix="edgestep-quantize-", dir=given.scratch) as scratch:
        parents = _Parents(given.parent, given.small, given.folder or Path(scratch), Path(scratch))
        for name in given.only or WAYS:
            told.print(name, style="dim")
            source = parents.unet(WAYS[name].format)
            if source is None:
                continue
            out = Path(scratch) / "out"
            out.mkdir()
            child = [sys.executable, __file__, "--child", name, str(source), str(out / source.name)]
            before = sum(path.stat().st_size for path in source.parent.rglob("*") if path.is_file())
            start = _cpu_seconds()
            taken = watched(child, out)
            rows[name] = Row(taken, before, _cpu_seconds() - start)
            shutil.rmtree(out)
    Console().print(_table(rows))
    return int(not all(WAYS[name].keeps(row.taken) for name, row in rows.items()))


def _cpu_seconds() -> float:
    """Return what all children that have ended took."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _w8(source: Path, final: Path) -> None:
    from edgestep.quantize.onnx.weight_only import quantize_onnx_w8

    quantize_onnx_w8(source, final)


def _w8a8(source: Path, final: Path) -> None:
    import openvino

    from edgestep.quantize.openvino.w8a8 import quantize_openvino_w8a8

    random = np.random.default_rng(0)
    inputs = {port.any_name: port.partial_shape.get_min_shape() for port in openvino.Core().read_model(source).inputs}
    quantize_openvino_w8a8(
        source,
        final,
        [
            {name: random.standard_normal([n or 1 for n in shape], np.float32) for name, shape in inputs.items()}
            for _ in range(SAMPLES)
        ],
    )


WAYS: dict[str, Way] = {
    "ONNX w8": Way("onnx", _w8, anonymous_gib=2.0),
    "OpenVINO w8a8": Way("openvino", _w8a8, resident_gib=13.8, seconds=188),
}


class _Parents:
    """The float artifacts, each exported when first asked for; `given` alone where there is one."""

    def __init__(self, given: Path | None, small: bool, folder: Path, scratch: Path) -> None:
        self._given, self._small, self._folder, self._scratch = given, small, folder, scratch

    def unet(self, form: str) -> Path | None:
        """Return the graph of the UNet in a format, None where the artifact that was given is of another."""
        parent = self._given or self._exported(form)
        artifact = read_artifact(parent)
        return parent / artifact.component("unet").file if artifact.format == form else None

    def _exported(self, form: str) -> Path:
        from edgestep.export.graph.graphs import Graphs
        from edgestep.export.recipe.contract import contract_from_checkpoint
        from edgestep.export.run import export
        from edgestep.export.source.checkpoint import open_checkpoint

        small, out = checkpoint_folder("emoji"), self._scratch / form
        checkpoint = open_checkpoint(small if self._small else write_full_size("sd15", self._folder / "sd15"))
        graphs = Graphs(checkpoint, contract_from_checkpoint(checkpoint))
        target = {"onnx": "x86", "openvino": "intel"}[form]
        export(checkpoint, format=form, precision="fp32", layout="split", target=target, out=out, graphs=graphs)
        return out


def _table(rows: dict[str, Row]) -> Table:
    table = Table("UNet", "anonymous", "resident", "seconds", "of CPU", "written", "of float32", "bar")
    for name, row in rows.items():
        table.add_row(
            name,
            f"{row.taken.anonymous / GIB:.2f} GiB",
            f"{row.taken.peak / GIB:.2f} GiB",
            f"{row.taken.seconds:.0f}",
            f"{row.cpu_seconds:.0f}",
            f"{row.taken.written / 1e6:.0f} MB",
            f"{row.taken.written / row.before:.3f}",
            WAYS[name].bars,
        )
    return table


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="where the full-size checkpoint is, or is to be written")
    parser.add_argument(
        "--parent",
        type=Path,
        help="a float artifact in split form: nothing is exported, and ways of its format alone are run",
    )
    parser.add_argument("--small", action="store_true", help="the bundled generator instead")
    parser.add_argument("--only", action="append", choices=list(WAYS), help="this way alone; may be given again")
    parser.add_argument("--scratch", type=Path, help="a folder with room for the artifacts")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
