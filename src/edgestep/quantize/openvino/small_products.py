"""Small linear layers whose weight is int8 -> the same, widened to float once, at load.

The CPU plugin keeps an int8 weight as it is: where the processor multiplies integers it rounds what the layer reads in
every run, elsewhere it unpacks the weight. For a product this small either takes longer than it saves: without,
the bundled generator takes 0.94 to 0.97 of the time, with VNNI and with AVX2 alone, on one thread and on two. The file
stays as small: the plugin computes ahead whatever is constant, but for weights unpacked in the way that it knows, and a
detour over float16, which holds every int8, is not.
"""

from typing import Any

import numpy as np

from edgestep.quantize.openvino.packing import packed_int8

MOST_PRODUCTS = 1 << 20
"""Multiplications of one run: 64 x 64 x 256, 64 x 128 x 128. Twice as many take 1.04 to 1.06 with VNNI."""


def widen_small_products(model: Any) -> int:
    """Rewrite in place, the function stays but for what was rounded; return how many layers."""
    return sum(_widened(op) for op in model.get_ordered_ops() if op.get_type_name() == "MatMul")


def _widened(op: Any) -> bool:
    from openvino import opset13

    packed = packed_int8(op)
    if packed is None or op.get_output_partial_shape(0).is_dynamic or _products(op) > MOST_PRODUCTS:
        return False
    name = packed.floats.get_friendly_name()
    halves = opset13.convert(packed.integers, "f16", name=f"{name}/half")
    packed.scaled.input(0).replace_source_output(opset13.convert(halves, "f32", name=name).output(0))
    return True


def _products(op: Any) -> int:
    return int(np.prod(op.get_output_shape(0))) * op.get_input_shape(1)[1 if op.get_attributes()["transpose_b"] else 0]
