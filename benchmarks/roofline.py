"""FLOPs of each graph, and how near the exported graph comes to the matrix products that this machine can do.

    python benchmarks/roofline.py                   the bundled generator
    python benchmarks/roofline.py /tmp/sd15 --runs 3

The peak is the best of several float32 matrix products by the same runtime in the same process, before the graphs and
after them. A ratio of 1 would be a graph that does nothing but its multiplications at that speed; a small model falls
short of it by what lies between. A large decoder can exceed it: FLOPs are the network's, of which export takes some out
(a convolution of an upsampled picture becomes four smaller ones).
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from edgestep.export.graph.graphs import Graphs
from edgestep.export.onnx.folder import write_onnx
from edgestep.export.recipe.contract import contract_from_checkpoint
from edgestep.export.source.checkpoint import checkpoint_folder, open_checkpoint
from edgestep.runtimes.onnxruntime_session import OnnxRuntimeSession

SIDE = 2048
"""Of the square matrices by which the peak is measured."""


def main() -> int:
    """Export each graph in float32, count, time, print the table."""
    given = _arguments()
    checkpoint = open_checkpoint(checkpoint_folder(given.checkpoint))
    graphs = Graphs(checkpoint, contract_from_checkpoint(checkpoint))
    counted = {name: _flops(graphs, name) for name in graphs.names("split")}
    with tempfile.TemporaryDirectory(prefix="edgestep-roofline-") as scratch:
        before = _peak(Path(scratch), given.threads)
        seconds = {name: _written_and_timed(Path(scratch), graphs, name, given) for name in counted}
        peak = max(before, _peak(Path(scratch), given.threads))
    console = Console()
    console.print(_table(counted, seconds, peak))
    console.print(f"peak {peak / 1e9:.0f} GFLOP/s: float32 product of {SIDE} x {SIDE}, {given.threads} threads")
    return 0


def _written_and_timed(scratch: Path, graphs: Graphs, name: str, given: argparse.Namespace) -> float:
    """Return the median seconds of a run of that graph, exported in float32."""
    write_onnx(scratch, graphs, (name,), "fp32")
    return _timed(scratch / name / "model.onnx", graphs, name, given)


def _table(counted: dict[str, int], seconds: dict[str, float], peak: float) -> Table:
    """Return one row per graph: its operations, its time and how far that is from `peak`, operations per second."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("graph", no_wrap=True)
    for column in ("GFLOP", "share", "p50 ms", "GFLOP/s", "of the peak"):
        table.add_column(column, justify="right")
    for name, flops in counted.items():
        share, rate = f"{flops / sum(counted.values()):.0%}", flops / seconds[name]
        figures = (f"{flops / 1e9:.3g}", share, f"{seconds[name] * 1e3:.4g}", f"{rate / 1e9:.0f}", f"{rate / peak:.2f}")
        table.add_row(name, *figures)
    return table


def _flops(graphs: Graphs, name: str) -> int:
    """Return two for each multiplication of a convolution, product or attention, counted by torch."""
    import torch
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

    # On the CPU torch counts no attention by itself.
    more = {
        torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: lambda q, k, v, *_, **__: sdpa_flop_count(q, k, v)
    }
    captured = graphs.captured(name)
    mode = next(
        node.meta["val"].fake_mode
        for node in captured.program.graph.nodes
        if hasattr(node.meta.get("val"), "fake_mode")
    )
    assert isinstance(mode, FakeTensorMode)
    with mode, FlopCounterMode(display=False, custom_mapping=more) as counter, torch.no_grad():
        feeds = [torch.zeros(s.shape, dtype=getattr(torch, s.dtype)) for s in captured.component.inputs]
        captured.program.module(check_guards=False)(*feeds)
    return counter.get_total_flops()


def _peak(scratch: Path, threads: int) -> float:
    """Return float operations per second of the best of ten matrix products."""
    from onnx import TensorProto, helper, save

    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [SIDE, SIDE]) for name in "abc"]
    graph = helper.make_graph([helper.make_node("MatMul", ["a", "b"], ["c"])], "peak", values[:2], values[2:])
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), scratch / "peak.onnx")
    matrix = np.random.default_rng(0).standard_normal((SIDE, SIDE), dtype=np.float32)
    with OnnxRuntimeSession(scratch / "peak.onnx", threads=threads) as session:
        return 2 * SIDE**3 / min(_seconds(lambda: session.run({"a": matrix, "b": matrix})) for _ in range(10))


def _timed(file: Path, graphs: Graphs, name: str, given: argparse.Namespace) -> float:
    """Return the median seconds of a run, after one that is not counted."""
    random = np.random.default_rng(0)
    feeds: dict[str, Any] = {}
    for spec in graphs.component(name).inputs:
        floats = random.standard_normal(spec.shape, dtype=np.float32)
        feeds[spec.name] = floats if spec.dtype == "float32" else np.ones(spec.shape, np.int64)
    with OnnxRuntimeSession(file, threads=given.threads) as session:
        session.run(feeds)
        return float(np.median([_seconds(lambda: session.run(feeds)) for _ in range(given.runs)]))


def _seconds(run: Callable[[], Any]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("checkpoint", nargs="?", default="emoji", help="a diffusers folder, or emoji")
    parser.add_argument("--threads", type=int, default=2, help="of the runtime")
    parser.add_argument("--runs", type=int, default=50, help="timed runs of each graph; few for a large model")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
