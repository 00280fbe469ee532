"""GroupNorm of few channels and many pixels -> moments of each channel, then one multiplication and one addition.

OpenVINO's convolutions on a CPU give pictures whose channels lie beside each other. A norm of groups wants them one
after the other, and the reordering, with a plain loop for 16 to 64 channels, took longer than the norm: 12 norms of the
bundled decoder cost a fifth of a drawing's time on one thread. Moments of single channels need no reordering; those of
a group follow from its channels', in two passes: E[x^2] - mean^2 would cancel.
"""

from typing import Any

import numpy as np

from edgestep.export.onnx.rewriting import add_node, changed, constant, constant_of, only_reader, producer, shape_of

CHANNELS = range(16, 65)
"""For which the reordering is a plain loop; below and above it was as fast as what stands here."""
PIXELS = 16 * 16
"""Below, the added operations take longer than the reordering."""


def norms_by_channel(model: Any) -> int:
    """Rewrite the norms that gain by it in an onnx_ir.Model, in place; return how many."""
    return sum(_rewritten(model, node) for node in list(model.graph) if node.op_type == "InstanceNormalization")


def _rewritten(model: Any, norm: Any) -> bool:
    grouped = producer(norm.inputs[0], "Reshape")
    ungrouped = only_reader(norm.outputs[0], "Reshape")
    affine = only_reader(ungrouped.outputs[0], "BatchNormalization") if ungrouped is not None else None
    if grouped is None or affine is None or not _is_plain(norm, 1, 2) or not _is_plain(affine, 4, 3):
        return False
    x, groups = grouped.inputs[0], shape_of(norm.inputs[0])
    shape = shape_of(x)
    if shape is None or groups is None or shape != shape_of(affine.outputs[0]) or len(shape) != 4:
        return False
    if shape[1] not in CHANNELS or shape[2] * shape[3] < PIXELS or affine.outputs[0].is_graph_output():
        return False
    _put(model, affine, x, (shape[0], groups[1], shape[1] // groups[1], 1), norm.attributes["epsilon"].as_float())
    return True


def _is_plain(node: Any, one: int, zero: int) -> bool:
    """Tell whether input number `one` is all ones and `zero` all zeros: scale and bias, or variance and mean."""
    ones, zeros = constant_of(node.inputs[one]), constant_of(node.inputs[zero])
    return ones is not None and zeros is not None and bool((ones == 1).all() and (zeros == 0).all())


def _put(model: Any, affine: Any, x: Any, grouped: tuple[int, ...], epsilon: float) -> None:
    """Put (x - mean) * scale + bias in the place of `affine`; `grouped` is [B, G, C / G, 1]."""
    made = _Made(model, affine)
    picture, channel, group = shape_of(x), (grouped[0], grouped[1] * grouped[2], 1, 1), (*grouped[:2], 1, 1)
    mean = made.mean(made.reshaped(made.mean(x, (2, 3), channel), grouped), (2,), group)
    each = made("Expand", (mean, made.sizes(grouped)), grouped)
    apart = made("Sub", (x, made.reshaped(each, channel)), picture)
    squares = made.mean(made("Mul", (apart, apart), picture), (2, 3), channel)
    variance = made.mean(made.reshaped(squares, grouped), (2,), group)
    deviation = made("Sqrt", (made("Add", (variance, made.number("epsilon", epsilon)), group),), group)
    scale = made("Div", (made.laid_out(affine.inputs[1], (1, *grouped[1:])), deviation), grouped)
    scaled = made("Mul", (apart, made.reshaped(scale, channel)), picture)
    # Named as the norm it is, so that whoever looks for the module's norm finds it.
    bias = made.laid_out(affine.inputs[2], (1, *channel[1:]))
    output = made("Add", (scaled, bias), picture, name="InstanceNormalization")
    affine.outputs[0].replace_all_uses_with(output)


class _Made:
    """Adds nodes in front of one, named `<its module>/<operator>_<number>`."""

    def __init__(self, model: Any, before: Any) -> None:
        self._model, self._before, self._count = model, before, 0
        self._module = before.name.rpartition("/")[0]

    def __call__(
        self, operator: str, inputs: tuple[Any, ...], shape: tuple[int, ...] | None, *, name: str = "", **more: Any
    ) -> Any:
        import onnx_ir as ir

        self._count += 1
        name = f"{self._module}/{name or f'{operator}_{self._count}'}"
        output = add_node(self._model.graph, self._before, operator, inputs, self._before.outputs[0], name=name, **more)
        output.shape = ir.Shape(shape or ())
        return output

    def mean(self, x: Any, axes: tuple[int, ...], shape: tuple[int, ...]) -> Any:
        axis = constant(self._model, f"axes_{'_'.join(map(str, axes))}", np.array(axes, dtype=np.int64))
        return self("ReduceMean", (x, axis), shape, keepdims=1)

    def reshaped(self, x: Any, shape: tuple[int, ...]) -> Any:
        return self("Reshape", (x, self.sizes(shape)), shape)

    def sizes(self, shape: tuple[int, ...]) -> Any:
        name = f"shape_{'_'.join(map(str, shape))}"
        return constant(self._model, name, np.array(shape, dtype=np.int64))

    def number(self, name: str, value: float) -> Any:
        return constant(self._model, f"{self._module}/{name}", np.array([value], dtype=np.float32))

    def laid_out(self, value: Any, shape: tuple[int, ...]) -> Any:
        return changed(self._model, value, f"as_{'_'.join(map(str, shape))}", lambda array: array.reshape(shape), shape)
