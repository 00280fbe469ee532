"""A graph with the same numbers in fewer bytes: small constants that are alike are one, and floats are halves.

Every constant takes 200 bytes of XML, and an exporter writes one for each reshape and each transpose.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from edgestep.quantize.openvino.weights import FEWEST, OPERATIONS, Weight, constant_of

TYPES = ("f32", "i64", "i32")


def share_constants(model: Any) -> None:
    """Let everything that reads a small constant read the first that has its numbers; none of them is a weight."""
    first: dict[tuple[str, tuple[int, ...], bytes], Any] = {}
    for op in model.get_ordered_ops():
        kind = op.get_element_type().to_string() if op.get_type_name() == "Constant" else ""
        if kind in TYPES and op.get_data().size < FEWEST:
            same = first.setdefault((kind, tuple(op.get_output_shape(0)), op.get_data().tobytes()), op)
            if same is not op:
                for target in op.output(0).get_target_inputs():
                    target.replace_source_output(same.output(0))


def shorten_names(model: Any) -> None:
    """Name small constants by their place: no weight is among them, and a module's path takes 50 bytes each time."""
    for place, op in enumerate(model.get_ordered_ops()):
        if op.get_type_name() == "Constant" and op.get_output_size() == 1 and _size(op) < FEWEST:
            op.set_friendly_name(f"c{place}")


def _size(op: Any) -> int:
    return int(np.prod(op.get_output_shape(0), dtype=np.int64))


def store_halves(model: Any, weights: Mapping[str, Weight], layers: Iterable[str]) -> None:
    """Store the float32 weights of `layers` as float16, 11 bits and so far finer than any integer beside them.

    Those that float16 cannot hold stay as they are. The CPU plugin makes them float32 again at load.
    """
    from openvino import opset13

    ops = {op.get_friendly_name(): op for op in model.get_ops()}
    for layer in layers:
        values = constant_of(ops[layer]).get_data() if layer in weights else np.zeros(0, np.float16)
        if values.dtype != np.float32 or not np.abs(values).max() <= np.finfo(np.float16).max:
            continue
        place = list(weights).index(layer)
        half = opset13.constant(values.astype(np.float16), name=f"f16_{place}")
        value = opset13.convert(half, "f32", name=f"f16_{place}f")
        ops[layer].input(OPERATIONS[weights[layer].operation]).replace_source_output(value.output(0))
