"""Layers in u8 x s8 -> how many dB they lose on x86 without VNNI, whose `vpmaddubsw` adds two products in 16 bits.

The sum of a row is taken in pairs of neighbours along the input channels: each pair saturates at -32768 and 32767, the
pairs are added in 32 bits. A convolution runs over its taps with the channels of each side by side, as onnxruntime lays
it out. Emulated on rows of real inputs, so that it can be told on any processor.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgestep.quantize.onnx.editing import Graph
from edgestep.quantize.onnx.integer_types import IntegerTypes
from edgestep.quantize.onnx.observed import Feed, observe
from edgestep.quantize.onnx.qdq import Steps, channel_axis, quantized_weight, steps_of_activation

FEEDS, ROWS = 2, 32
"""Drawings that are looked at, and output positions of each layer in one."""


@dataclass(frozen=True)
class Saturation:
    """`losses`: layer -> dB of signal over noise that its output loses; only layers in which a sum saturated."""

    losses: Mapping[str, float]

    @property
    def warning(self) -> str:
        """Return one line, "" where nothing saturated."""
        if not self.losses:
            return ""
        worst = max(self.losses, key=lambda name: self.losses[name])
        return (
            f"on x86 without VNNI {len(self.losses)} layers saturate, {worst} loses {self.losses[worst]:.1f} dB, the "
            f"median {np.median(list(self.losses.values())):.1f} dB; types u8s7 or u8u8 do not"
        )


def saturation_of(
    graph: Graph,
    layers: Sequence[str],
    ranges: Mapping[str, tuple[float, float]],
    feeds: Sequence[Feed],
    types: IntegerTypes,
) -> Saturation:
    """Emulate the layers of a float graph, before pairs are added to it, with the integers they are going to have."""
    if not types.saturates:
        return Saturation({})
    chosen = set(layers)
    nodes = [node for node in graph.graph.node if node.name in chosen and _can_be_emulated(graph, node)]
    powers: dict[str, np.ndarray] = {node.name: np.zeros(3) for node in nodes}
    readers: dict[str, list[Any]] = {}
    for node in nodes:
        readers.setdefault(node.input[0], []).append(node)

    def see(tensor: str, value: np.ndarray) -> None:
        steps = steps_of_activation(*ranges[tensor], types)
        for node in readers[tensor]:
            powers[node.name] += _powers(graph, node, value, steps, types)

    observe(graph.model, {tensor: nodes[0].name for tensor, nodes in readers.items()}, feeds[:FEEDS], see)
    return Saturation({name: float(10 * np.log10(w / e)) for name, (_, e, w) in powers.items() if w > e > 0})


def saturated_product(rows: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Return rows @ weight as `vpmaddubsw` and `vpmaddwd` add it: uint8 [N, K], int8 [K, O] -> int32 [N, O]."""
    if rows.shape[1] % 2:
        rows, weight = np.pad(rows, ((0, 0), (0, 1))), np.pad(weight, ((0, 1), (0, 0)))
    a, b = rows.astype(np.int32), weight.astype(np.int32)
    total = np.zeros((len(a), b.shape[1]), np.int32)
    for i in range(0, a.shape[1], 2):
        pair = a[:, i, None] * b[i] + a[:, i + 1, None] * b[i + 1]
        total += np.clip(pair, -32768, 32767)
    return total


def _powers(graph: Graph, node: Any, value: np.ndarray, steps: Steps, types: IntegerTypes) -> np.ndarray:
    """Return sums of squares: of the float output, of its error in exact integers, and of that in saturating ones."""
    weight = graph.value(node.input[1])
    whole, scales = quantized_weight(weight, channel_axis(node), types)
    rows, columns, integers = _as_product(node, value, weight, whole)
    # int8 activations are moved up by 128 there, to meet the same instruction
    up = 128 if types.activation == "int8" else 0
    zero = int(steps.zero_point) + up
    limits = np.iinfo(np.uint8)
    given = np.clip(np.round(rows / steps.scale) + zero, limits.min, limits.max).astype(np.uint8)
    real = rows.astype(np.float64) @ columns
    offset = zero * integers.astype(np.int64).sum(0)
    scale = float(steps.scale) * scales.scale.astype(np.float64)
    exact = (given.astype(np.float64) @ integers.astype(np.float64) - offset) * scale
    cut = (saturated_product(given, integers) - offset) * scale
    return np.array([np.sum(real**2), np.sum((real - exact) ** 2), np.sum((real - cut) ** 2)])


def _as_product(
    node: Any, value: np.ndarray, weight: np.ndarray, whole: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return some rows [N, K] of a layer's input and its weights [K, O], real and integer."""
    if node.op_type != "Conv":
        rows = value.reshape(-1, value.shape[-1])
        return _some(rows), weight.astype(np.float64), whole
    kernel = weight.shape[2:]
    pads, strides = _ints(node, "pads", [0, 0, 0, 0]), _ints(node, "strides", [1, 1])
    padded = np.pad(value, ((0, 0), (0, 0), (pads[0], pads[2]), (pads[1], pads[3])))
    windows = np.lib.stride_tricks.sliding_window_view(padded, kernel, axis=(2, 3))[:, :, :: strides[0], :: strides[1]]
    patches = windows.transpose(0, 2, 3, 4, 5, 1).reshape(-1, weight[0].size)
    real, integers = (each.transpose(2, 3, 1, 0).reshape(-1, len(weight)) for each in (weight, whole))
    return _some(patches), real.astype(np.float64), integers


def _some(rows: np.ndarray) -> np.ndarray:
    return rows[np.linspace(0, len(rows) - 1, min(ROWS, len(rows))).astype(int)]


def _can_be_emulated(graph: Graph, node: Any) -> bool:
    groups = next((each.i for each in node.attribute if each.name == "group"), 1)
    whole = set(_ints(node, "dilations", [1])) == {1} and groups == 1
    return node.op_type in ("Conv", "MatMul") and node.input[1] in graph.initializers and whole


def _ints(node: Any, name: str, default: list[int]) -> list[int]:
    return next((list(each.ints) for each in node.attribute if each.name == name), default)
