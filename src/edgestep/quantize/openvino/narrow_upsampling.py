"""Conv3x3(nearest upsampling by 2) of few channels -> one 2x2 convolution of the small picture, 16 products for 36.

What the export does to wide layers in every format (`export/onnx/fuse_upsampling.py`): an output pixel sees 2 x 2
pixels of the small picture, with weights of its own for each of the four places in a block of 2 x 2 outputs. In
integers narrow layers gain as well, most where the processor has no VNNI: with AVX2 alone the bundled generator takes
0.96 to 0.98 of the time, with VNNI 0.98 to 1.02. The four are one convolution here, of one pixel more each way, as the
places of a block see windows that start at different pixels. What is too much is cut off.
"""

from typing import Any

import numpy as np

from edgestep.quantize.openvino.pixel_blocks import keeps_size, replace_by_blocks

WIDE = 128
"""Input channels from which on the export decides, by the size of the picture."""
SMALLEST = 8 * 8
"""Pixels before upsampling: at 4 x 4 a layer of 128 channels took as long either way."""
SEEN = np.array([[[1, 1, 0], [0, 0, 1]], [[1, 0, 0], [0, 1, 1]]], np.float64)
"""[place, pixel of a window, tap] along one axis: which taps fall onto which pixel. The blocks start one output early,
which is then cut off: the place 0 is the second output of a pixel, 1 the first of the next."""
NEAREST = {
    "mode": "nearest",
    "nearest_mode": "floor",
    "coordinate_transformation_mode": "asymmetric",
    "pads_begin": [0] * 4,
    "pads_end": [0] * 4,
}


def compute_before_upsampling(model: Any) -> int:
    """Rewrite such convolutions in place, their weights still float; the function stays. Return how many."""
    return sum(_rewritten(op) for op in model.get_ordered_ops() if op.get_type_name() == "Convolution")


def _rewritten(op: Any) -> bool:
    from openvino import opset13

    if not keeps_size(op) or op.get_input_shape(1)[1] >= WIDE or not _is_doubling(op.input_value(0).get_node()):
        return False
    name, weight = op.get_friendly_name(), op.input_value(1).get_node()
    small = op.input_value(0).get_node().input_value(0)
    four = opset13.constant(_of_blocks(weight.get_data()), name=weight.get_friendly_name())
    op.set_friendly_name(f"{name}/of_upsampled")
    blocks = opset13.convolution(small, four, [1, 1], [1, 1], [1, 1], [1, 1], name=name)
    replace_by_blocks(op, blocks, begun_early=True)
    return True


def _is_doubling(op: Any) -> bool:
    """Tell whether it repeats every pixel 2 x 2 times, of a picture that is not too small."""
    if op.get_type_name() != "Interpolate":
        return False
    given = op.get_attributes()
    small, doubled = list(op.get_input_shape(0)), list(op.get_output_shape(0))
    matches = all(given[key] == content for key, content in NEAREST.items())
    return matches and doubled == [*small[:2], 2 * small[2], 2 * small[3]] and small[2] * small[3] >= SMALLEST


def _of_blocks(weight: np.ndarray) -> np.ndarray:
    """[O, I, 3, 3] -> [4 O, I, 2, 2], the places of a block one after the other; added in float64."""
    outputs, inputs = weight.shape[:2]
    made = np.einsum("ayt,bxu,oitu->aboiyx", SEEN, SEEN, weight.astype(np.float64))
    return made.reshape(4 * outputs, inputs, 2, 2).astype(weight.dtype)
