"""Memory and time of quantizing the UNet of Stable Diffusion 1.5, 860 M parameters, random weights.

    python benchmarks/quantize_memory.py --folder /tmp/full         the published config, float32 ONNX
    python benchmarks/quantize_memory.py --parent D --only w8       an artifact that is there already
    python benchmarks/quantize_memory.py --small                    the bundled generator: a quick run

Each row is a fresh process that runs what `edgestep quantize` runs for the UNet alone. Memory is as in
watched_process.py; the bar of w8 is on anonymous bytes: mapped weights can be read again from their file.
"""

import argparse
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from full_size import write_full_size
from rich.console import Console
from rich.table import Table
from watched_process import GIB, Taken, watched

from edgestep.artifact import read_artifact
from edgestep.export.source.checkpoint import checkpoint_folder

W8 = "ONNX w8"
GIB_BARS = {W8: 2.0}


def main() -> int:
    """Quantize in each way, and print the table; 1 where a way took more than its bar."""
    given = _arguments()
    if given.child:
        WAYS[given.child[0]](*map(Path, given.child[1:]))
        return 0
    told = Console(stderr=True)
    with tempfile.TemporaryDirectory(prefix="edgestep-quantize-", dir=given.scratch) as scratch:
        parent = given.parent or _exported(given.small, given.folder or Path(scratch), Path(scratch))
        source = parent / read_artifact(parent).component("unet").file
        taken: dict[str, Taken] = {}
        for way in given.only or WAYS:
            told.print(way, style="dim")
            out = Path(scratch) / "out"
            out.mkdir()
            child = [sys.executable, __file__, "--child", way, str(source), str(out / source.name)]
            taken[way] = watched(child, out)
            shutil.rmtree(out)
        before = sum(path.stat().st_size for path in source.parent.rglob("*") if path.is_file())
    Console().print(_table(taken, before))
    return int(any(found.anonymous / GIB > GIB_BARS.get(way, float("inf")) for way, found in taken.items()))


def _w8(source: Path, final: Path) -> None:
    from edgestep.quantize.onnx.weight_only import quantize_onnx_w8

    quantize_onnx_w8(source, final)


WAYS: dict[str, Callable[[Path, Path], None]] = {W8: _w8}


def _exported(small: bool, folder: Path, scratch: Path) -> Path:
    from edgestep.export.graph.graphs import Graphs
    from edgestep.export.recipe.contract import contract_from_checkpoint
    from edgestep.export.run import export
    from edgestep.export.source.checkpoint import open_checkpoint

    checkpoint = open_checkpoint(checkpoint_folder("emoji") if small else write_full_size("sd15", folder / "sd15"))
    graphs = Graphs(checkpoint, contract_from_checkpoint(checkpoint))
    out = scratch / "parent"
    export(checkpoint, format="onnx", precision="fp32", layout="split", target="x86", out=out, graphs=graphs)
    return out


def _table(taken: dict[str, Taken], before: int) -> Table:
    table = Table("UNet", "anonymous", "resident", "seconds", "written", "of float32", "bar")
    for way, found in taken.items():
        bar = GIB_BARS.get(way)
        table.add_row(
            way,
            f"{found.anonymous / GIB:.2f} GiB",
            f"{found.peak / GIB:.2f} GiB",
            f"{found.seconds:.0f}",
            f"{found.written / 1e6:.0f} MB",
            f"{found.written / before:.3f}",
            "" if bar is None else f"{bar:g} GiB",
        )
    return table


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="where the full-size checkpoint is, or is to be written")
    parser.add_argument("--parent", type=Path, help="a float ONNX artifact in split form: nothing is exported")
    parser.add_argument("--small", action="store_true", help="the bundled generator instead")
    parser.add_argument("--only", action="append", choices=list(WAYS), help="this way alone; may be given again")
    parser.add_argument("--scratch", type=Path, help="a folder with room for the artifacts")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
