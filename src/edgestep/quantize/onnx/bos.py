"""MatMul(x, W) -> Concat(row of the start token, MatMul(x without it, W)), for keys and values of cross-attention.

The start token's embedding is 100 times larger than the words', and 8 bits that reach to it leave the words a handful
of levels (MixDQ, arXiv 2405.17873). A causal text encoder gives it the same embedding for every prompt:
its key and value are constants, which stay float and cost nothing.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from edgestep.quantize.floats import module_path
from edgestep.quantize.onnx.editing import Graph
from edgestep.quantize.onnx.observed import Feed, observe

SAME = 1e-4
"""How far, of the largest, a start token may be from another prompt's: kernels differ in the order of sums."""


def split_start_tokens(graph: Graph, allowed: Collection[str], feeds: Sequence[Feed]) -> tuple[str, ...]:
    """Rewrite those of the `allowed` layers that can be; return the layers that are split.

    Nothing is split where the first token is not the same in all feeds: the text encoder is not causal.
    """
    layers = [node for node in graph.graph.node if node.name in allowed and _fits(graph, node)]
    starts = _starts(graph, {node.input[0]: node.name for node in layers}, feeds)
    words: dict[str, str] = {}
    done = []
    for node in layers:
        if node.input[0] in starts:
            done.append(node.name)
            _split(graph, node, starts[node.input[0]], words)
    return tuple(done)


def _fits(graph: Graph, node: Any) -> bool:
    tokens = len(graph.shapes.get(node.output[0], ())) == 3
    return node.op_type == "MatMul" and node.input[1] in graph.initializers and tokens


def _starts(graph: Graph, layers: Mapping[str, str], feeds: Sequence[Feed]) -> dict[str, np.ndarray]:
    """Return tensor -> its first row, float64 [E], of those tensors in which it never changes."""
    seen: dict[str, list[np.ndarray]] = {name: [] for name in layers}
    observe(graph.model, layers, feeds, lambda name, value: seen[name].append(value[:, 0]))
    found = {}
    for name, rows in seen.items():
        all_rows = np.concatenate(rows).astype(np.float64)
        if len(all_rows) > 1 and np.ptp(all_rows, axis=0).max() <= SAME * np.abs(all_rows).max():
            found[name] = all_rows[0]
    return found


def _split(graph: Graph, node: Any, start: np.ndarray, words: dict[str, str]) -> None:
    from onnx import helper

    path, x, weight = module_path(node.name), node.input[0], graph.value(node.input[1])
    new = []
    if x not in words:
        words[x] = f"{path}/words"
        ends = [graph.put(f"{path}/{name}", np.array([value])) for name, value in (("from", 1), ("to", 1 << 62))]
        axis = graph.put(f"{path}/axis", np.array([1]))
        new.append(helper.make_node("Slice", [x, *ends, axis], [words[x]], f"{path}/Slice"))
        tokens = graph.shapes.get(x, (0, 0, 0))
        graph.describe(words[x], x, (tokens[0], max(tokens[1] - 1, 0), tokens[2]))
    row = graph.put(f"{path}/start", (start @ weight.astype(np.float64)).astype(weight.dtype)[None, None])
    output, shape = node.output[0], graph.shapes[node.output[0]]
    product = f"{path}/of_words"
    graph.describe(product, output, (shape[0], max(shape[1] - 1, 0), shape[2]))
    new.append(helper.make_node("MatMul", [words[x], node.input[1]], [product], node.name))
    if shape[0] != 1:
        new += _for_each_of_batch(graph, path, x, row)
        row = f"{path}/starts"
    new.append(helper.make_node("Concat", [row, product], [output], f"{path}/Concat", axis=1))
    graph.replace(node, new)


def _for_each_of_batch(graph: Graph, path: str, x: str, row: str) -> list[Any]:
    """Return nodes that repeat the row for a batch whose size is open."""
    from onnx import helper

    one = graph.put(f"{path}/one", np.array([1, 1]))
    return [
        helper.make_node("Shape", [x], [f"{path}/batch"], f"{path}/Shape", start=0, end=1),
        helper.make_node("Concat", [f"{path}/batch", one], [f"{path}/repeats"], f"{path}/Concat_2", axis=0),
        helper.make_node("Expand", [row, f"{path}/repeats"], [f"{path}/starts"], f"{path}/Expand"),
    ]
