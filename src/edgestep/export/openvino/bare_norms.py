"""MVN, Multiply by ones, Add of zeros -> MVN: what OpenVINO makes of an InstanceNormalization that only normalizes.

GroupNorm's own weight and bias come later, in one operation for all channels (export/onnx/fuse_affine.py). Two
operations less for each norm, and two constants; MVN gets the name of the last: its own is a number of the process.
"""

from typing import Any

import numpy as np


def bare_norms(model: Any) -> int:
    """Rewrite an openvino.Model in place; return how many norms became one operation."""
    return sum(_bared(op) for op in model.get_ordered_ops() if op.get_type_name() == "MVN")


def _bared(norm: Any) -> bool:
    last = norm
    for kind, value in (("Multiply", 1.0), ("Add", 0.0)):
        readers = list(last.output(0).get_target_inputs())
        if len(readers) != 1 or readers[0].get_node().get_type_name() != kind:
            return False
        last = readers[0].get_node()
        if not _is_all(last.input_value(1 - readers[0].get_index()).get_node(), value):
            return False
    for reader in list(last.output(0).get_target_inputs()):
        reader.replace_source_output(norm.output(0))
    norm.set_friendly_name(last.get_friendly_name())
    return True


def _is_all(node: Any, value: float) -> bool:
    return node.get_type_name() == "Constant" and bool(np.all(node.get_data() == value))
