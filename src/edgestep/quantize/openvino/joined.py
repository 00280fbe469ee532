"""Linear layers that read the same and are parted into heads alike -> one layer, one transpose, one split.

A CPU takes 8 to 20 us for a linear layer of a small attention, however little it multiplies. One drawing of the bundled
generator has 92, of which 47 are q, k and v of an attention to itself, or k and v of one to the prompt. Nothing is
computed otherwise: each output keeps its integers and scales, and the inputs are rounded as they were, only once.
"""

from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgestep.quantize.openvino.packing import packed_int8
from edgestep.quantize.openvino.projections import Projection, projections_of


@dataclass(frozen=True)
class _Layer:
    """A projection, its weight int8 [inputs, outputs], and the float32 scales [1, outputs], times its factor."""

    projection: Projection
    integers: np.ndarray
    scales: np.ndarray

    @property
    def name(self) -> str:
        return self.projection.linear.get_friendly_name()

    @property
    def kind(self) -> Hashable:
        """Layers of one kind can be one."""
        source = self.projection.linear.input_value(0)
        return source.get_node().get_name(), source.get_index(), self.projection.heads, self.projection.bias is None

    @property
    def bias(self) -> np.ndarray:
        return self.projection.bias.input_value(1).get_node().get_data().reshape(-1) * self.projection.factor


def join_projections(model: Any) -> int:
    """Rewrite in place, the function stays; return how many layers became a part of another.

    Only layers whose weight is int8 times a scale of each output are joined, and only in graphs of batch 1: with five
    dimensions, OpenVINO 2026.4 takes the transpose for a reshape where there are as many heads as tokens.
    """
    groups: dict[Hashable, list[_Layer]] = defaultdict(list)
    for projection in projections_of(model):
        layer = _layer(projection)
        if layer is not None and projection.linear.get_output_shape(0)[0] == 1:
            groups[layer.kind].append(layer)
    return sum(_joined(group) for group in groups.values() if len(group) > 1)


def _layer(projection: Projection) -> _Layer | None:
    """Return None for a layer whose weight is another."""
    packed = packed_int8(projection.linear)
    if packed is None or any(projection.linear.get_attributes().values()):
        return None
    integers, scales = packed.integers.get_data(), packed.scales.get_data()
    is_plain = scales.shape == (1, integers.shape[1])
    return _Layer(projection, integers, scales * projection.factor) if is_plain else None


def _joined(group: Sequence[_Layer]) -> int:
    for layer, part in zip(group, _parts(group), strict=True):
        projection = layer.projection
        operand = _tokens_last(part, layer.name) if projection.tokens_last else part
        projection.reader.input(projection.operand).replace_source_output(operand)
    return len(group) - 1


def _parts(group: Sequence[_Layer]) -> list[Any]:
    """Return each layer's output of the one that does for all, [1, heads, tokens, width]."""
    from openvino import opset13

    name = f"{group[0].name.rpartition('/')[0]}.joined"
    output = _layer_of_all(group, name)
    heads, width = group[0].projection.heads
    shape = np.array([output.get_output_shape(0)[1], len(group), heads, width], np.int64)
    parted = opset13.reshape(output, opset13.constant(shape), special_zero=False, name=f"{name}/Reshape")
    order = opset13.constant(np.array([1, 2, 0, 3], np.int64))
    apart = opset13.transpose(parted, order, name=f"{name}/Transpose")
    return opset13.split(apart, opset13.constant(np.int64(0)), len(group), name=f"{name}/Split").outputs()


def _layer_of_all(group: Sequence[_Layer], name: str) -> Any:
    from openvino import opset13

    integers = np.concatenate([layer.integers for layer in group], axis=1)
    scales = np.concatenate([layer.scales for layer in group], axis=1)
    floats = opset13.convert(opset13.constant(integers, name=f"{name}/q"), "f32", name=f"{name}/f")
    weight = opset13.multiply(floats, opset13.constant(scales, name=f"{name}/s"), name=f"{name}/m")
    output = opset13.matmul(group[0].projection.linear.input_value(0), weight, False, False, name=f"{name}/MatMul")
    if group[0].projection.bias is None:
        return output
    bias = np.concatenate([layer.bias for layer in group])
    return opset13.add(output, opset13.constant(bias, name=f"{name}/bias"), name=f"{name}/Add")


def _tokens_last(part: Any, name: str) -> Any:
    from openvino import opset13

    order = opset13.constant(np.array([0, 1, 3, 2], np.int64))
    return opset13.transpose(part, order, name=f"{name}/tokens_last").output(0)
