"""An OpenVINO model whose convolutions read large channels -> a Multiply in front of each such convolution."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from edgestep.quantize.channels import along, reach_of
from edgestep.quantize.large_channels import scales
from edgestep.quantize.openvino.in_front import multiply_in_front
from edgestep.quantize.openvino.segments import CONFIG, Feed, finite
from edgestep.quantize.openvino.weights import Weight, constant_of


def split_large_channels(model: Any, weights: Sequence[Weight], feeds: Sequence[Feed]) -> int:
    """Rewrite in place, the function stays; return how many of the convolutions `weights` were.

    Raises BadInput, with the name of the layer, where one is fed NaN or infinity: NNCF would pass over it.
    """
    ops = {op.get_friendly_name(): op for op in model.get_ordered_ops()}
    largest = _reaches(model, [ops[weight.layer] for weight in weights], feeds)
    return sum(_divided(ops[weight.layer], weight, largest[weight.layer]) for weight in weights)


def _reaches(model: Any, ops: Sequence[Any], feeds: Sequence[Feed]) -> Mapping[str, np.ndarray]:
    """Return layer -> the largest magnitude, over the feeds, of each channel that it reads."""
    import openvino
    from openvino import opset13

    results = [opset13.result(op.input_value(0)) for op in ops]
    made_of: Any = openvino.Model  # its stub takes no arguments
    part = made_of(results, model.get_parameters())
    request = openvino.Core().compile_model(part, "CPU", CONFIG).create_infer_request()
    largest: dict[str, np.ndarray] = {}
    for i, feed in enumerate(feeds):
        outputs = request.infer(dict(feed))
        for j, op in enumerate(ops):
            name = op.get_friendly_name()
            reach = reach_of(finite(outputs[j], name, i), 1).astype(np.float64)
            largest[name] = np.maximum(largest.get(name, reach), reach)
    return largest


def _divided(op: Any, weight: Weight, largest: np.ndarray) -> bool:
    values = constant_of(op).get_data().astype(np.float32)
    s = scales(largest, reach_of(values, weight.axis).astype(np.float64)).astype(np.float32)
    if (s == 1).all():
        return False
    multiply_in_front(op, weight, values * along(s, weight.axis, values.ndim), 1 / s)
    return True
