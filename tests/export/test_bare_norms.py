"""Norms without a weight of their own become one operation, and no other does."""

from typing import Any

import numpy as np
import openvino
import pytest
from openvino import opset13

from edgestep.export.openvino.bare_norms import bare_norms

made_of: Any = openvino.Model  # its stub takes no arguments


def norm(ones: np.ndarray, zeros: np.ndarray) -> openvino.Model:
    x = opset13.parameter([1, 4, 6], openvino.Type.f32, name="x")
    normed = opset13.mvn(x, opset13.constant([2]), True, 1e-6, "inside_sqrt")
    scaled = opset13.multiply(normed, opset13.constant(ones.astype(np.float32)))
    moved = opset13.add(scaled, opset13.constant(zeros.astype(np.float32)), name="block.norm/InstanceNormalization")
    return made_of([opset13.relu(moved)], [x])


def run(model: openvino.Model) -> np.ndarray:
    x = np.random.default_rng(0).standard_normal((1, 4, 6)).astype(np.float32)
    return openvino.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})([x])[0]


def test_a_norm_with_ones_and_zeros_is_one_operation_of_that_name():
    model = norm(np.ones((1, 4, 1)), np.zeros((1, 4, 1)))
    before = run(model)
    assert bare_norms(model) == 1
    names = {op.get_type_name(): op.get_friendly_name() for op in model.get_ops()}
    assert names["MVN"] == "block.norm/InstanceNormalization"
    assert not {"Multiply", "Add"} & set(names)
    assert np.array_equal(run(model), before)
    assert before.std() > 0


@pytest.mark.parametrize("place", [0, 1])
def test_a_norm_with_a_weight_or_a_bias_stays(place: int):
    given = [np.ones((1, 4, 1)), np.zeros((1, 4, 1))]
    given[place][0, 2] = 0.5
    model = norm(*given)
    assert bare_norms(model) == 0
    assert {"Multiply", "Add"} <= {op.get_type_name() for op in model.get_ops()}
