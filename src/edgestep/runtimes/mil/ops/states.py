"""MIL's states (iOS 18) -> reads and writes of a holder that outlives a run."""

import torch

from edgestep.runtimes.mil.arguments import State
from edgestep.runtimes.mil.ops.families import Op


def read_state(input: State) -> torch.Tensor:
    """Return what the state holds; nothing changes a tensor in place, so it need not be copied."""
    return input.value


def write_state(input: State, data: torch.Tensor) -> tuple[()]:
    """Put `data` into the state. Gives nothing."""
    input.value = data
    return ()


def coreml_update_state(state: State, value: torch.Tensor) -> torch.Tensor:
    """Put `value` into the state and return it. coremltools writes it as the two above."""
    state.value = value
    return value


OPS: dict[str, Op] = {
    "coreml_update_state": coreml_update_state,
    "read_state": read_state,
    "write_state": write_state,
}
MOVES = frozenset(OPS)
RANDOM = frozenset(OPS)
