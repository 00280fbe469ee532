"""Conv3x3(nearest upsampling by 2) -> four 2x2 convolutions of the small picture, interleaved: 16 products for 36.

Of the 3 x 3 neighbours that an output pixel sees in the upsampled picture, several are the same pixel: their weights
are added beforehand. Each of the four positions in a 2 x 2 square of outputs has kernels of its own, so the weights
grow by 16/9 and the products fall to 4/9. Interleaving costs a pass over the output: only wide layers gain, see WIDE.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from edgestep.export.onnx.rewriting import add_node, changed, constant_of, producer, shape_of

WIDE = 128
"""Input channels. On 2 cores 256 channels at 128 x 128 took 358 -> 223 ms; 64 at 16 x 16 took 397 -> 452 us."""
LARGE = 32 * 32
"""Pixels before upsampling: below, the time goes into reading weights, of which there would be more."""
TAPS = {0: ((0,), (1, 2)), 1: ((0, 1), (2,))}
"""Position in the 2 x 2 square, along one axis -> the taps of 3 that fall onto each of the two pixels it sees."""


def fuse_upsampling(model: Any, *, wide: int = WIDE, large: int = LARGE) -> int:
    """Rewrite every such convolution in place and return how many."""
    return sum(_fused(model, node, wide, large) for node in list(model.graph) if node.op_type == "Conv")


def _fused(model: Any, conv: Any, wide: int, large: int) -> bool:
    import onnx_ir as ir

    resize = producer(conv.inputs[0], "Resize")
    if resize is None or not _is_doubling(resize) or not _is_plain(conv):
        return False
    small, output = shape_of(resize.inputs[0]), conv.outputs[0]
    if small is None or small[1] < wide or small[2] * small[3] < large or output.is_graph_output():
        return False
    parts = [_part(model, conv, resize.inputs[0], y, x) for y in (0, 1) for x in (0, 1)]
    together = add_node(model.graph, conv, "Concat", parts, parts[0], axis=1)
    together.shape = ir.Shape((small[0], 4 * shape_of(parts[0])[1], *small[2:]))  # type: ignore[index]
    fused = add_node(model.graph, conv, "DepthToSpace", [together], output, blocksize=2, mode="DCR")
    output.replace_all_uses_with(fused)
    return True


def _part(model: Any, conv: Any, small: Any, y: int, x: int) -> Any:
    """Return the outputs at position (y, x) of every 2 x 2 square: [B, O, h, w]."""
    import onnx_ir as ir

    weight = conv.inputs[1]
    shape = (*weight.shape[:2], 2, 2)
    kernel = changed(model, weight, f"at{y}{x}", lambda array: taps_added(array, y, x), shape)
    number = 2 * y + x + 1
    name = conv.name if number == 1 else f"{conv.name}_{number}"
    pads = [1 - y, 1 - x, y, x]  # top, left, bottom, right
    inputs = [small, kernel, *conv.inputs[2:]]
    part = add_node(model.graph, conv, "Conv", inputs, conv.outputs[0], name=name, kernel_shape=[2, 2], pads=pads)
    part.name = f"{conv.name}/at{y}{x}"
    part.shape = ir.Shape((small.shape[0], weight.shape[0], *small.shape[2:]))
    return part


def taps_added(weight: np.ndarray, y: int, x: int) -> np.ndarray:
    """[O, I, 3, 3] -> [O, I, 2, 2], the sums of the taps that fall onto one pixel; added in float64."""
    wide = weight.astype(np.float64)
    rows = np.stack([wide[:, :, list(taps)].sum(2) for taps in TAPS[y]], axis=2)
    both = np.stack([rows[..., list(taps)].sum(3) for taps in TAPS[x]], axis=3)
    return both.astype(weight.dtype)


def _is_doubling(resize: Any) -> bool:
    """Tell whether it repeats every pixel 2 x 2 times."""
    source, doubled = shape_of(resize.inputs[0]), shape_of(resize.outputs[0])
    if source is None or doubled is None or len(source) != 4:
        return False
    scales = constant_of(resize.inputs[2]) if len(resize.inputs) > 2 else None
    exact = scales is None or list(scales) == [1, 1, 2, 2]
    wanted = {"mode": "nearest", "nearest_mode": "floor", "coordinate_transformation_mode": "asymmetric"}
    matches = all(resize.attributes.get_string(key, "") == content for key, content in wanted.items())
    return exact and matches and doubled == (*source[:2], 2 * source[2], 2 * source[3])


def _is_plain(conv: Any) -> bool:
    """Tell whether it is a 3 x 3 convolution of stride 1 that keeps the size and mixes all channels."""
    weight = shape_of(conv.inputs[1])
    if weight is None or weight[2:] != (3, 3) or not conv.inputs[1].is_initializer():
        return False
    wanted = {"pads": (1,) * 4, "strides": (1, 1), "dilations": (1, 1)}
    lists = all(tuple(_ints(conv, key, content)) == content for key, content in wanted.items())
    return lists and conv.attributes.get_int("group", 1) == 1


def _ints(conv: Any, key: str, default: tuple[int, ...]) -> Iterator[int]:
    if key == "pads" and key not in conv.attributes:
        return iter((0,) * 4)
    return iter(conv.attributes.get_ints(key, default))
