"""Memory and time of converting a UNet to Core ML, ours against torch.export and coremltools.convert alone.

    python benchmarks/coreml_memory.py --folder /tmp/full       Stable Diffusion 1.5, 860 M parameters, float16
    python benchmarks/coreml_memory.py --small                  the bundled generator: a quick run

The published config with random weights (full_size.py). Each side runs in a fresh process, in turn; ours is the writer
of `edgestep export --format coreml --precision fp16`, with its checks of what it wrote, theirs loads the UNet with
diffusers, exports and converts it, and saves it. Memory is as in watched_process.py; the bars are on bytes resident.
"""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from full_size import write_full_size
from rich.console import Console
from rich.table import Table
from watched_process import GIB, Taken, watched

from edgestep.export.source.checkpoint import checkpoint_folder

OURS, PLAIN = "edgestep", "coremltools alone"
GIB_BAR, TIME_BAR = 6.0, 1.10
TOKENS = 77


def main() -> int:
    """Convert by each way `--rounds` times, in turn, and print the table."""
    given = _arguments()
    if given.child:
        {OURS: _ours, PLAIN: _plain}[given.child[0]](*map(Path, given.child[1:]))
        return 0
    console, told = Console(), Console(stderr=True)
    taken: dict[str, list[Taken]] = {way: [] for way in given.only or (OURS, PLAIN)}
    with tempfile.TemporaryDirectory(prefix="edgestep-coreml-", dir=given.scratch) as scratch:
        parent = given.folder or Path(scratch)
        checkpoint = checkpoint_folder("emoji") if given.small else write_full_size("sd15", parent / "sd15")
        for turn in range(given.rounds):
            for way, found in taken.items():
                told.print(f"{way}, round {turn + 1} of {given.rounds}", style="dim")
                out = Path(scratch) / "out"
                found.append(watched([sys.executable, __file__, "--child", way, str(checkpoint), str(out)], out))
                told.print(f"{found[-1].peak / GIB:.2f} GiB, {found[-1].seconds:.0f} s", style="dim")
                shutil.rmtree(out)
    console.print(_table(taken))
    if len(taken) == 2:
        console.print(_comparison(taken[OURS], taken[PLAIN]), soft_wrap=True)
    return 0


def _ours(checkpoint: Path, out: Path) -> None:
    from edgestep.export.graph.graphs import Graphs
    from edgestep.export.recipe.contract import contract_from_checkpoint
    from edgestep.export.run import EXPORTERS
    from edgestep.export.source.checkpoint import open_checkpoint

    opened = open_checkpoint(checkpoint)
    graphs = Graphs(opened, contract_from_checkpoint(opened))
    EXPORTERS["coreml"].write(out, graphs, ("unet",), "fp16")


def _plain(checkpoint: Path, out: Path) -> None:
    """Convert as coremltools' guide does it. `alias`, which it does not know, is dropped: it would convert nothing."""
    import coremltools as ct
    import torch
    from diffusers import UNet2DConditionModel

    class Plain(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.unet = UNet2DConditionModel.from_pretrained(checkpoint / "unet", torch_dtype=torch.float32).eval()

        def forward(self, *feeds: torch.Tensor) -> torch.Tensor:
            return self.unet(*feeds, return_dict=False)[0]

    module = Plain().requires_grad_(False)
    channels, side, width = (module.unet.config[key] for key in ("in_channels", "sample_size", "cross_attention_dim"))
    feeds = (torch.zeros(1, channels, side, side), torch.zeros(1, dtype=torch.int32), torch.zeros(1, TOKENS, width))
    program = torch.export.export(module, feeds).run_decompositions({})
    _drop_aliases(program)
    model = ct.convert(
        program,
        convert_to="mlprogram",
        minimum_deployment_target=ct.target.iOS17,
        compute_precision=ct.precision.FLOAT16,
        skip_model_load=True,
    )
    model.save(str(out / "unet.mlpackage"))


def _drop_aliases(program: Any) -> None:
    for node in list(program.graph.nodes):
        if str(node.target) == "aten.alias.default":
            node.replace_all_uses_with(node.args[0])
            program.graph.erase_node(node)
    program.graph_module.recompile()


def _table(taken: dict[str, list[Taken]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("conversion", no_wrap=True)
    for column in ("peak GiB", "anonymous GiB", "seconds", "written GB", "rounds"):
        table.add_column(column, justify="right")
    for way, rounds in taken.items():
        peak, anonymous = (max(one.peak for one in rounds) / GIB, max(one.anonymous for one in rounds) / GIB)
        seconds, written = median(one.seconds for one in rounds), rounds[0].written / 1e9
        table.add_row(way, f"{peak:.2f}", f"{anonymous:.2f}", f"{seconds:.1f}", f"{written:.3g}", str(len(rounds)))
    return table


def _comparison(ours: list[Taken], plain: list[Taken]) -> str:
    """Return our figures against their bars; the time is the median of the ratios within each round."""
    ratio = median(a.seconds / b.seconds for a, b in zip(ours, plain, strict=True))
    peak, theirs = (max(one.peak for one in rounds) / GIB for rounds in (ours, plain))
    return (
        f"ours takes {peak / theirs:.2f} times the memory ({peak:.2f} GiB, bar: {GIB_BAR:g} for sd15) and "
        f"{ratio:.2f} times the time (bar: {TIME_BAR:.2f})"
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--small", action="store_true", help="the bundled generator's UNet instead")
    parser.add_argument("--rounds", type=int, default=1, help="turns of each side")
    parser.add_argument("--only", action="append", choices=(OURS, PLAIN), help="one side alone")
    parser.add_argument("--folder", type=Path, help="where the checkpoint is kept and found again; else made anew")
    parser.add_argument("--scratch", type=Path, help="where packages are written, and removed; else the system's")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
