"""What the tests of blocks of 2 x 2 pixels share."""

from typing import Any

import numpy as np
import openvino

F32 = {"INFERENCE_PRECISION_HINT": "f32"}


def drawn(model: Any) -> np.ndarray:
    """Return the model's output for the same normal numbers, in float32."""
    x = np.random.default_rng(1).standard_normal(model.input(0).shape).astype(np.float32)
    return np.array(openvino.Core().compile_model(model, "CPU", F32)([x])[0])


def is_left(rewrite: Any, model: Any) -> bool:
    """Tell whether `rewrite` finds nothing in it and changes nothing."""
    names = [op.get_friendly_name() for op in model.get_ordered_ops()]
    return rewrite(model) == 0 and [op.get_friendly_name() for op in model.get_ordered_ops()] == names
