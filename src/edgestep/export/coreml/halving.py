"""coremltools' cast to float16, made to hold each weight in one type at a time.

By itself it keeps every float32 weight until the last one has been cast: 1.5 times the model. It asks `op_selector` of
each operation before it casts it, and that is the moment to let go of what was cast before.
"""

import gc
from typing import Any

import numpy as np

from edgestep.export.coreml.islands import in_float16

LARGE = 1024
"""Constants of fewer numbers are not worth it."""


class Halving:
    """An op_selector for FP16ComputePrecision. `program` is the ExportedProgram, whose own weights go first."""

    def __init__(self, program: Any) -> None:
        self._program = program
        self._cast: list[Any] = []

    def __call__(self, operation: Any) -> bool:
        """Tell whether the operation is to compute in float16; free the weights of those that already do."""
        if self._program is not None:
            self._program.state_dict.clear()
            self._program = None
            gc.collect()  # the converter, done by now, holds them in a cycle
        self._cast = [value for value in self._cast if not _freed(value)]
        if not in_float16(operation):
            return False
        self._cast += [value for value in operation.get_flattened_inputs() if _is_large(value)]
        return True


def _is_large(value: Any) -> bool:
    return value.op is not None and value.op.op_type == "const" and _elements(value) > LARGE


def _elements(value: Any) -> int:
    return value.val.size if isinstance(value.val, np.ndarray) else 0


def _freed(value: Any) -> bool:
    """Free the numbers of a constant that only casts read, which have read it; return False where another is to."""
    if not all(user.op_type == "cast" and user.outputs[0].val is not None for user in value.child_ops):
        return False
    # Dead code until coremltools removes it: its shape and type must stay, its numbers are read no more.
    nothing = np.broadcast_to(np.zeros((), value.val.dtype), value.val.shape)
    value.op.val._sym_val.val = nothing
    value._sym_val.val = nothing
    return True
