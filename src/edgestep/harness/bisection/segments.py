"""A graph cut at some values -> the piece before each: its operations, and the module and operator that it stands for.

A piece ends where another value was cut, at the component's inputs and at constants. Between two modules it holds what
their parent does itself: a residual Add, the products around a softmax.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from edgestep.harness.bisection.tap_places import Graph, Place
from edgestep.runtimes.probe import GraphNode

RANKS = (
    ("Attention", "ScaledDotProductAttention"),
    ("Softmax",),
    ("Conv", "ConvTranspose", "Convolution", "GroupConvolution", "Gemm", "Einsum"),
    ("MatMul",),
    ("LayerNormalization", "InstanceNormalization", "GroupNormalization", "RMSNormalization", "MVN"),
    ("BatchNormalization", "BatchNormInference"),
    ("Gelu", "Softplus", "Erf", "Tanh"),
    ("Sigmoid", "Swish"),
    ("Gather", "Resize", "Interpolate"),
)
"""What a piece is called after: the first row that it has an operator of."""
MOVES = {"Reshape", "Transpose", "Squeeze", "Unsqueeze", "Split", "Slice", "Concat", "VariadicSplit", "Identity"}
"""Operators that move numbers: what a piece is called after only where it has nothing else."""


@dataclass(frozen=True)
class Segment:
    """The piece that ends in `value`: the operation that it is called after, and all the operators that compute.

    `operation` is `unet.conv_in/Conv`, `module` and `op` its two halves; `ops` are in order: ("MatMul", "Add").
    `quantized` says whether something in it is quantized.
    """

    value: str
    operation: str
    module: str
    op: str
    ops: tuple[str, ...]
    quantized: bool


def segments_of(graph: Graph, places: Sequence[Place], component: str) -> dict[str, Segment]:
    """Return the piece before each place's value; `component` stands for the module of what is in none: the formula."""
    values = {place.value for place in places}
    return {place.value: _segment(graph, place, values, component) for place in places}


def _segment(graph: Graph, place: Place, values: set[str], component: str) -> Segment:
    nodes = sorted(_piece(graph, place.value, values), key=lambda node: graph.order[node.name])
    real = [node for node in nodes if not node.changes_numbers_only]
    told = [node for node in real if not node.automatic] or real
    computing = [node for node in told if operator(node) not in MOVES] or told
    first = min(computing, key=lambda node: (_rank(node), -graph.order[node.name]))
    module = graph.module.get(first.name, "") or (place.tap.module if place.tap.leaf else component)
    ops = tuple(dict.fromkeys(operator(node) for node in computing))
    quantized = any("Quantize" in node.op for node in nodes)
    return Segment(place.value, first.name, module, operator(first), ops, quantized)


def _piece(graph: Graph, value: str, values: set[str]) -> list[GraphNode]:
    found: dict[str, GraphNode] = {}
    waiting = [value]
    while waiting:
        node = graph.maker.get(waiting.pop())
        if node is None or node.name in found:
            continue
        found[node.name] = node
        waiting += [v for v in node.inputs if v not in values and v not in graph.view.constants]
    return list(found.values())


def operator(node: GraphNode) -> str:
    """Return the operator in the exporter's words, `unet.conv_in/Conv/WithoutBiases` -> Conv, or the format's own."""
    parts = node.name.split("/")
    return re.sub(r"_\d+$", "", parts[1]) if len(parts) > 1 else node.op


def _rank(node: GraphNode) -> int:
    names = (operator(node), node.op)
    return next((i for i, row in enumerate(RANKS) if any(name in row for name in names)), len(RANKS))
