"""Programs of a few operations built with coremltools' own Builder: evaluated by us, and inferred by coremltools.

    evaluated("softmax", {"x": x}, axis=1)      one operation, x an input, axis a constant, through a saved package
    inferred("softmax", x=x, axis=1)            what coremltools' value_inference makes of constants
    evaluated_program({"x": x}, lambda x: mb.relu(x=x))     any program
    held_to_inference("softmax", {"x": x}, axis=1)          both, compared

What is returned is a tuple, one array for each output, in the operation's own types.
"""

import gc
import logging
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import coremltools as ct
import numpy as np
from coremltools.converters.mil.mil import Builder as mb
from coremltools.converters.mil.mil import Function, Program, types
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edgestep.runtimes.mil_evaluator import MilEvaluator

logging.getLogger("coremltools").setLevel(logging.ERROR)

Arrays = tuple[np.ndarray, ...]
IOS15, IOS16, IOS17, IOS18 = ct.target.iOS15, ct.target.iOS16, ct.target.iOS17, ct.target.iOS18
SYSTEMS = (IOS15, IOS16, IOS17, IOS18)
MIL = {
    np.dtype(name): getattr(types, mil)
    for name, mil in {
        "bool": "bool",
        "float16": "fp16",
        "float32": "fp32",
        "int8": "int8",
        "int16": "int16",
        "int32": "int32",
        "uint8": "uint8",
        "uint16": "uint16",
    }.items()
}
"""numpy's type -> MIL's."""
NAMES = {mil: types.builtin_to_string(mil) for mil in MIL.values()}

quick = settings(
    max_examples=12, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck)
)
"""A few examples, the same each time."""


def evaluated(op: str, inputs: Mapping[str, Any], *, target: Any = IOS15, numerics: str = "fp32", **constants: Any):
    """Return every output of one operation, `inputs` fed to the program and `constants` written into it."""
    return evaluated_program(
        inputs, lambda **fed: getattr(mb, op)(**fed, **constants), target=target, numerics=numerics
    )


def evaluated_program(
    inputs: Mapping[str, Any], build: Callable[..., Any], *, target: Any = IOS15, numerics: str = "fp32"
) -> Arrays:
    """Return what MilEvaluator makes of the package of build(**inputs); a list or tuple of variables is its outputs.

    Arrays of types and ranks that Core ML has no inputs or outputs of are cast and squeezed inside the program.
    """
    arrays = {name: np.asarray(value) for name, value in inputs.items()}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "built.mlpackage"
        kinds = save_built(path, arrays, build, target)
        feeds = {name: np.atleast_1d(array).astype(_outside(array.dtype)) for name, array in arrays.items()}
        with MilEvaluator(path, numerics=numerics) as session:
            outputs = session.run(feeds)
            with np.errstate(over="ignore"):
                return tuple(outputs[f"out{i}"].astype(kind) for i, kind in enumerate(kinds))


def save_built(path: Path, arrays: Mapping[str, np.ndarray], build: Callable[..., Any], target: Any) -> list[np.dtype]:
    """Save the program of `build` as a package, with no pass that changes it; return its outputs' numpy types."""
    program, kinds = _program(arrays, build, target)
    gc.freeze()  # coremltools collects garbage with each conversion: 0.2 s of it is torch's, which is none
    try:
        model: Any = ct.convert(
            program,
            convert_to="mlprogram",
            minimum_deployment_target=target,
            compute_precision=ct.precision.FLOAT32,
            pass_pipeline=ct.PassPipeline.EMPTY,
            skip_model_load=True,
        )
        model.save(str(path))
    finally:
        gc.unfreeze()
    return kinds


def inferred(op: str, *, target: Any = IOS15, **constants: Any) -> Arrays:
    """Return what coremltools' value_inference makes of the operation on constants; fails where it has none."""
    copies = {name: value.copy() if isinstance(value, np.ndarray) else value for name, value in constants.items()}
    with Function({"unused": mb.placeholder(shape=(1,))}, opset_version=target) as function:
        made = getattr(mb, op)(**copies)
        function.set_outputs(_several(made))
    values = [var.val for var in _several(made)]
    assert all(value is not None for value in values), f"{op} has no value_inference for these"
    return tuple(np.asarray(value) for value in values)


def held_to_inference(
    op: str, inputs: Mapping[str, Any], *, target: Any = IOS15, rtol: float = 1e-5, atol: float = 1e-6, **constants: Any
) -> None:
    """Assert that the evaluator gives what coremltools' value_inference does: shapes, and values within a tolerance."""
    with np.errstate(all="ignore"):
        wanted = inferred(op, target=target, **inputs, **constants)
    got = evaluated(op, inputs, target=target, **constants)
    assert len(got) == len(wanted)
    for one, want in zip(got, wanted, strict=True):
        same(one, want, rtol, atol)


def same(got: np.ndarray, want: Any, rtol: float = 1e-5, atol: float = 1e-6) -> None:
    """Assert the same shape, NaN and inf in the same places, and the rest within a tolerance."""
    want = np.asarray(want)
    assert got.shape == want.shape
    np.testing.assert_allclose(got.astype(np.float64), want.astype(np.float64), rtol=rtol, atol=atol)


def shapes(low: int = 1, high: int = 4, side: int = 4) -> st.SearchStrategy[tuple[int, ...]]:
    """Return a strategy of shapes of `low` to `high` dimensions of 1 to `side`."""
    return hnp.array_shapes(min_dims=low, max_dims=high, max_side=side)


def floats(
    shape: Any, low: float = -4, high: float = 4, *, unique: bool = False, dtype: str = "float32"
) -> st.SearchStrategy[np.ndarray]:
    """Return a strategy of float arrays within a range, no two numbers the same where `unique`."""
    numbers = st.floats(low, high, width=16 if dtype == "float16" else 32, allow_subnormal=False)
    return hnp.arrays(dtype, shape, elements=numbers, unique=unique)


def whole(shape: Any, low: int = -9, high: int = 9, dtype: str = "int32") -> st.SearchStrategy[np.ndarray]:
    """Return a strategy of integer arrays within a range."""
    return hnp.arrays(dtype, shape, elements=st.integers(low, high))


def _program(arrays: Mapping[str, np.ndarray], build: Callable[..., Any], target: Any) -> tuple[Program, list]:
    fed = {
        name: mb.placeholder(shape=array.shape or (1,), dtype=MIL[np.dtype(_outside(array.dtype))])
        for name, array in arrays.items()
    }
    program = Program()
    with Function(fed, opset_version=target) as function:
        made = _several(build(**{name: _inside(function.inputs[name], array) for name, array in arrays.items()}))
        function.set_outputs([_out(var, f"out{i}") for i, var in enumerate(made)])
    program.add_function("main", function)
    return program, [np.dtype(types.nptype_from_builtin(var.dtype)) for var in made]


def _outside(kind: np.dtype) -> str:
    """Return the type in which a package of iOS 15 takes and gives numbers of another."""
    return "float32" if kind.kind == "f" else "int32"


def _inside(var: Any, array: np.ndarray) -> Any:
    if not array.shape:
        var = mb.squeeze(x=var, axes=[0])
    return var if array.dtype == _outside(array.dtype) else mb.cast(x=var, dtype=NAMES[MIL[array.dtype]])


def _out(var: Any, name: str) -> Any:
    kind = _outside(np.dtype(types.nptype_from_builtin(var.dtype)))
    if MIL[np.dtype(kind)] == var.dtype:
        return mb.identity(x=var, name=name)
    return mb.cast(x=var, dtype=NAMES[MIL[np.dtype(kind)]], name=name)


def _several(made: Any) -> list:
    return list(made) if isinstance(made, list | tuple) else [made]
