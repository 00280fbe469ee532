"""Weights that are let go of while coremltools casts them: the program is the one that it makes when it keeps all."""

import weakref
from typing import Any

import numpy as np
import pytest
import torch

from edgestep.export.coreml.halving import Halving
from edgestep.export.coreml.islands import in_float16, name_nodes
from edgestep.mlpackage.tools import import_coremltools, silenced

pytest.importorskip("coremltools")


class Tied(torch.nn.Module):
    """One matrix read by two layers, one of them, unet.conv_in by its name, in float32."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.unet = torch.nn.ModuleDict({"conv_in": torch.nn.Linear(48, 48), "after": torch.nn.Linear(48, 48)})
        self.unet["after"].weight = self.unet["conv_in"].weight
        self.last = torch.nn.Sequential(torch.nn.Linear(48, 40), torch.nn.ReLU(), torch.nn.Linear(40, 32))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.unet["after"](self.unet["conv_in"](x)))


def exported() -> Any:
    program = torch.export.export(Tied().eval().requires_grad_(False), (torch.zeros(1, 48),)).run_decompositions({})
    name_nodes(program)
    return program


def converted(program: Any, selector: Any) -> dict[str, np.ndarray]:
    """Return the weights of the converted program by name."""
    ct = import_coremltools()
    with silenced():
        model = ct.convert(
            program,
            minimum_deployment_target=ct.target.iOS17,
            compute_precision=ct.transform.FP16ComputePrecision(op_selector=selector),
            skip_model_load=True,
        )
        weights = ct.optimize.coreml.get_weights_metadata(model, weight_threshold=1)
    return {name: np.asarray(weight.val) for name, weight in weights.items()}


def test_weights_are_those_that_coremltools_makes_when_it_keeps_them():
    program = exported()
    kept, freed = converted(exported(), in_float16), converted(program, Halving(program))
    assert kept.keys() == freed.keys()
    assert {array.dtype.name for array in kept.values()} == {"float16", "float32"}
    for name, array in kept.items():
        np.testing.assert_array_equal(freed[name], array)
        assert freed[name].dtype == array.dtype
        assert np.abs(array.astype(np.float64)).max() > 0


def test_the_program_s_own_weights_are_freed_before_the_first_cast():
    program = exported()
    alive = weakref.ref(program.state_dict["last.0.weight"])
    halving = Halving(program)
    seen = []

    def watched(operation: Any) -> bool:
        answer = halving(operation)
        seen.append(alive() is None)
        return answer

    converted(program, watched)
    assert not program.state_dict and seen and all(seen)


def held(block: Any) -> int:
    """Return how many weights are held in float32 that only casts to float16 have read."""
    consts = [op.outputs[0] for op in block.operations if op.op_type == "const"]
    large = [v for v in consts if isinstance(v.val, np.ndarray) and v.val.size > 1024 and v.val.dtype == np.float32]
    return sum(any(v.val.strides) and {op.op_type for op in v.child_ops} == {"cast"} for v in large)


def most_held(program: Any, selector: Any) -> int:
    counts = []

    def watched(operation: Any) -> bool:
        answer = selector(operation)
        counts.append(held(operation.enclosing_block))
        return answer

    converted(program, watched)
    return max(counts)


def test_no_weight_is_held_in_both_types():
    program = exported()
    assert most_held(program, Halving(program)) == 0 < most_held(exported(), in_float16)
