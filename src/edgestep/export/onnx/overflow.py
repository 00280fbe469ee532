"""A float32 onnx_ir model and feeds -> the modules that must stay float32 when it becomes float16, found by running it.

A value that float16 cannot hold must be float32 from the node that makes it to every node that reads it, or a Cast
between two of them makes it infinite. So the set is: every node that gives or takes such a value, and no other. A large
value in a residual stream is given and taken by each Add that carries it on, and by whatever branches off, so the set
follows it as far as it is large, across blocks.

Nodes are then named by their innermost module, `vae.decoder.up_blocks.2.resnets.0`, whose names do not change with the
size of the picture, as the numbers behind node names may.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgestep.export.onnx.half import LARGEST, NORMS, float32_nodes, module_of
from edgestep.export.onnx.node_by_node import run_node_by_node

MARGIN = 4.0
"""How far from float16's largest number a value must stay, since a few feeds are not all feeds: other prompts draw
larger values than those that were seen, and a kernel that sums in float16 passes through larger ones than its result.
Two bits of the range are cheap: values grow by decades where they grow at all."""
LIMIT = LARGEST / MARGIN


@dataclass(frozen=True)
class Ranges:
    """What was seen of one graph. `keep` are module names, sorted; `nodes` are those in them that touch large values.

    `largest` is the largest |value| that any node gave, in `largest_at`; `norm_input` the largest |value| that went
    into a module that normalises; `fed` says what the graph was run on.
    """

    graph: str
    keep: tuple[str, ...]
    nodes: int
    largest: float
    largest_at: str
    norm_input: float
    fed: str

    def notes(self) -> tuple[str, ...]:
        """Return what the manifest says of it, a line or two."""
        seen = (
            f"largest value seen {self.largest:.3g} in {self.largest_at}, into a norm (float32) {self.norm_input:.3g}; "
            f"float16 ends at {LARGEST:g}, margin {MARGIN:g}; {self.fed}"
        )
        if not self.keep:
            return (f"fp16: nothing of {self.graph} kept in float32 for its range: {seen}",)
        nodes = f"{self.nodes} node{'s' if self.nodes > 1 else ''}"
        return (
            f"fp16: {nodes} of {self.graph} kept in float32 for their range: {seen}",
            f"fp16: kept in float32: {', '.join(self.keep)}",
        )


def ranges_from_onnx(model: Any, feeds: Iterable[Mapping[str, np.ndarray]], graph: str, fed: str) -> Ranges:
    """Run any float32 onnx_ir.Model, whose nodes are named after modules, on each of `feeds`; see `run_node_by_node`.

    Memory is that of one feed's values. `feeds` should be what the graph is really given: on numbers of another size
    it shows other ranges. Nodes that half.py keeps in float32 by its rules are not named again. Attention with a mask
    is named, since the mask's -3e4 counts as a large value: that costs speed, not pictures.
    """
    watch = _Watch(float32_nodes(model.graph))
    for feed in feeds:
        run_node_by_node(model, feed, watch.see)
    at = max(watch.outputs, key=lambda name: _rank(watch.outputs[name]), default="")
    return Ranges(
        graph=graph,
        keep=tuple(sorted({module_of(node) for node in watch.touching})),
        nodes=len(watch.touching),
        largest=watch.outputs.get(at, 0.0),
        largest_at=at,
        norm_input=watch.norm_input,
        fed=fed,
    )


class _Watch:
    """The ranges seen so far. `touching`: nodes that gave or took what float16 cannot hold with the margin."""

    def __init__(self, kept: set[Any]):
        self.kept = kept
        self.touching: set[Any] = set()
        self.outputs: dict[str, float] = {}
        self.norm_input = 0.0

    def see(self, node: Any, inputs: Sequence[np.ndarray | None], outputs: Sequence[np.ndarray]) -> None:
        given = max(map(largest_of, outputs), default=0.0)
        taken = [largest_of(array) for value, array in zip(node.inputs, inputs, strict=True) if not _fixed(value)]
        weights = [largest_of(array) for value, array in zip(node.inputs, inputs, strict=True) if _fixed(value)]
        if not _fits(given, self.outputs.get(node.name, -1.0)):
            self.outputs[node.name] = given
        if node.op_type in NORMS:
            self.norm_input = max(self.norm_input, *taken, key=_rank)
        # What is written in the file is known exactly: it needs no margin.
        fits = _fits(max((given, *taken), key=_rank), LIMIT) and _fits(max(weights, default=0.0, key=_rank), LARGEST)
        if not fits and node not in self.kept:
            self.touching.add(node)


def largest_of(array: np.ndarray | None) -> float:
    """Return the largest |number| of a float array, NaN where there is one; 0 for other types and for none."""
    if array is None or array.dtype.kind != "f" or not array.size:
        return 0.0
    return float(max(array.max(), -array.min()))  # no second array of its size; NaN comes through both


def _fixed(value: Any) -> bool:
    return value is not None and value.const_value is not None


def _fits(value: float, limit: float) -> bool:
    return value <= limit  # NaN does not


def _rank(value: float) -> float:
    return math.inf if math.isnan(value) else value
