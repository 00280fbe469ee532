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
SCORES = frozenset({"Add", "Where", "Cast", "Reshape", "Expand", "Unsqueeze", "Slice", "Transpose"})
"""What may lie between a mask and the softmax that it is for."""


@dataclass(frozen=True)
class Ranges:
    """What was seen of one graph. `keep` are module names, sorted; `nodes` are those in them that touch large values.

    `largest` is the largest finite |value| that any node gave, in `largest_at`; `norm_input` the largest |value| that
    went into a module that normalises; `fed` says what the graph was run on.
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
    it shows other ranges. Nodes that half.py keeps in float32 by its rules are not named again.
    """
    watch = _Watch(float32_nodes(model.graph))
    for feed in feeds:
        run_node_by_node(model, feed, watch.see)
    # T5 takes the logarithm of 0 on its way to whole numbers: what is infinite anyway says nothing of the range.
    finite = {name: value for name, value in watch.outputs.items() if math.isfinite(value)}
    at = max(finite, key=lambda name: finite[name], default="")
    return Ranges(
        graph=graph,
        keep=tuple(sorted({module_of(node) for node in watch.touching})),
        nodes=len(watch.touching),
        largest=finite.get(at, math.inf),
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
        given = max((_counted(v, a) for v, a in zip(node.outputs, outputs, strict=True)), default=0.0, key=_rank)
        taken = [_counted(v, a) for v, a in zip(node.inputs, inputs, strict=True) if not _fixed(v)]
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


def _counted(value: Any, array: np.ndarray | None) -> float:
    """Return `largest_of`, but what is far below zero before a softmax by its place in the range, without the margin.

    A mask is -3e4, and whatever is that small or smaller comes out of the softmax as 0.
    """
    if array is None or array.dtype.kind != "f" or not array.size or not _goes_to_softmax(value):
        return largest_of(array)
    return float(max(array.max(), -array.min() / MARGIN))


def _goes_to_softmax(value: Any) -> bool:
    """Tell whether all that becomes of a value is added to scores, and goes into a softmax."""
    if value.is_graph_output() or not value.uses():
        return False
    return all(
        use.node.op_type == "Softmax" or (use.node.op_type in SCORES and _goes_to_softmax(use.node.outputs[0]))
        for use in value.uses()
    )


def _fixed(value: Any) -> bool:
    return value is not None and value.const_value is not None


def _fits(value: float, limit: float) -> bool:
    return value <= limit  # NaN does not


def _rank(value: float) -> float:
    return math.inf if math.isnan(value) else value
