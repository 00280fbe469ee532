"""Rounded weights -> the constant and operations that give them back, which the CPU plugin computes once, at load.

int8, int4      Constant -> Convert -> Multiply(scale) [-> Reshape]
2, 3, 6 bits    Constant, unsigned -> Convert -> Subtract(2^(bits-1)) -> Multiply(scale) [-> Reshape]
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from edgestep.quantize.openvino.weights import Weight
from edgestep.quantize.rounding import Rounded
from edgestep.quantize.widths import Width

SIGNED = {8: "i8", 4: "i4"}
UNSIGNED = {6: "u6", 3: "u3", 2: "u2"}
BITS = (*SIGNED, *UNSIGNED)
"""Bits that the format has a type of."""
NODE_BYTES = 400
"""Of XML, about, that a Convert takes: float32 scales that need none are the smaller where they are fewer than half."""


def unpacked(weight: Weight, made: Rounded, width: Width, prefix: str) -> Any:
    """Return the output that is the float32 weight as it lies in the graph; `prefix` starts the names."""
    from openvino import opset13

    shape, scale_shape = _split(weight, made.scales.shape[1])
    integers = weight.as_lying(made.integers).reshape(shape)
    value = opset13.convert(_stored(integers, width.bits, f"{prefix}q"), "f32", name=f"{prefix}f")
    if width.bits in UNSIGNED:
        half = opset13.constant(np.float32(2 ** (width.bits - 1)), name=f"{prefix}z")
        value = opset13.subtract(value, half, name=f"{prefix}c")
    scales = (made.scales if weight.axis == 1 else made.scales.T).reshape(scale_shape)
    value = opset13.multiply(value, _scales(scales, width, prefix), name=f"{prefix}m")
    if shape != weight.lies:
        lies = opset13.constant(np.array(weight.lies, np.int64), name=f"lies_{weight.lies}")
        value = opset13.reshape(value, lies, special_zero=False, name=f"{prefix}r")
    return value.output(0)


@dataclass(frozen=True)
class Packed:
    """What unpacks a weight: Constant `integers` -> Convert `floats` -> Multiply `scaled`, by the Constant `scales`."""

    integers: Any
    floats: Any
    scaled: Any
    scales: Any


def packed_int8(op: Any) -> Packed | None:
    """Return what a MatMul's int8 weight is unpacked by, None for another weight."""
    scaled = op.input_value(1).get_node()
    if scaled.get_type_name() != "Multiply":
        return None
    floats, scales = (scaled.input_value(i).get_node() for i in (0, 1))
    if floats.get_type_name() != "Convert" or floats.get_input_element_type(0).to_string() != SIGNED[8]:
        return None
    packed = Packed(floats.input_value(0).get_node(), floats, scaled, scales)
    return packed if {packed.integers.get_type_name(), scales.get_type_name()} == {"Constant"} else None


def _stored(integers: np.ndarray, bits: int, name: str) -> Any:
    import openvino
    from openvino import opset13

    if bits in SIGNED:
        return opset13.constant(integers, getattr(openvino.Type, SIGNED[bits]), name=name)
    unsigned = (integers.astype(np.int16) + 2 ** (bits - 1)).astype(np.uint8)
    return opset13.constant(unsigned, getattr(openvino.Type, UNSIGNED[bits]), name=name)


def _scales(scales: np.ndarray, width: Width, prefix: str) -> Any:
    """Return the scales in float32; those of blocks are kept as float16, unless they are few."""
    from openvino import opset13

    if not width.block or 2 * scales.size < NODE_BYTES:
        return opset13.constant(np.ascontiguousarray(scales), name=f"{prefix}s")
    half = opset13.constant(scales.astype(np.float16, order="C"), name=f"{prefix}s")
    return opset13.convert(half, "f32", name=f"{prefix}w")


def _split(weight: Weight, blocks: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the shape with the inputs parted into blocks, and that of the scales, which multiply it."""
    shape, axis = weight.shape, weight.axis
    outputs, inputs, taps = shape[1 - axis], shape[axis], shape[2:]
    ones = (1,) * len(taps)
    if blocks == 1:
        return shape, ((outputs, 1, *ones) if axis == 1 else (1, outputs, *ones))
    if axis == 1:
        return (outputs, blocks, inputs // blocks, *taps), (outputs, blocks, 1, *ones)
    return (blocks, inputs // blocks, outputs, *taps), (blocks, 1, outputs, *ones)
