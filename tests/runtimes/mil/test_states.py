"""Programs with states: what one run writes, the next one reads."""

from pathlib import Path
from typing import Any

import coremltools as ct
import numpy as np
import pytest
import torch
from coremltools.converters.mil.mil import Builder as mb
from coremltools.converters.mil.mil import types

from edgestep.runtimes.mil.arguments import State
from edgestep.runtimes.mil.ops.registry import OPS
from edgestep.runtimes.mil_evaluator import MilEvaluator


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A program that adds its input to `total`, gives the sum, and counts in `count` without giving it."""
    specs = [
        mb.TensorSpec((2, 3), types.fp16),
        mb.StateTensorSpec((2, 3), types.fp16),
        mb.StateTensorSpec((1,), types.fp16),
    ]

    @mb.program(input_specs=specs, opset_version=ct.target.iOS18)
    def program(x, total, count):
        seen = mb.add(x=mb.read_state(input=total), y=x)
        new = mb.coreml_update_state(state=total, value=seen)
        mb.coreml_update_state(state=count, value=mb.add(x=mb.read_state(input=count), y=np.float16(1)))
        return mb.mul(x=new, y=np.float16(2), name="out")

    model: Any = ct.convert(program, minimum_deployment_target=ct.target.iOS18, skip_model_load=True)
    path = tmp_path_factory.mktemp("states") / "sum.mlpackage"
    model.save(str(path))
    return path


def test_states_last_from_run_to_run(package: Path):
    x = np.arange(6, dtype=np.float16).reshape(2, 3)
    with MilEvaluator(package) as session:
        assert [spec.name for spec in session.inputs] == ["x"]
        for runs in (1, 2, 3):
            (got,) = session.run({"x": x}).values()
            np.testing.assert_array_equal(got, 2 * runs * x)
        assert session.states["count"].value.tolist() == [3]


def test_reset_makes_them_zeros_again(package: Path):
    x = np.ones((2, 3), np.float16)
    with MilEvaluator(package) as session:
        session.run({"x": x})
        session.reset()
        (got,) = session.run({"x": x}).values()
    np.testing.assert_array_equal(got, 2 * x)


def test_two_sessions_share_no_state(package: Path):
    x = np.ones((2, 3), np.float16)
    with MilEvaluator(package) as one, MilEvaluator(package) as other:
        one.run({"x": x})
        (got,) = other.run({"x": x}).values()
    np.testing.assert_array_equal(got, 2 * x)


def test_what_was_read_does_not_change_when_the_state_is_written():
    state = State(torch.zeros(2))
    before = OPS["read_state"](state)
    assert OPS["write_state"](state, torch.ones(2)) == ()
    assert before.tolist() == [0, 0] and OPS["read_state"](state).tolist() == [1, 1]


def test_coreml_update_state_gives_what_it_writes():
    state = State(torch.zeros(2))
    assert OPS["coreml_update_state"](state, torch.ones(2)).tolist() == state.value.tolist() == [1, 1]
