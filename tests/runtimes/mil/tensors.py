"""NumPy's values -> what the evaluator holds: floats as float32, integers and flags in their own types."""

from typing import Any

import numpy as np
import torch


def tensors(**values: Any) -> dict[str, torch.Tensor]:
    """Return each as a tensor, for an operation that is called by itself."""
    return {name: tensor(value) for name, value in values.items()}


def tensor(value: Any) -> torch.Tensor:
    """Return one."""
    array = np.asarray(value)
    if array.dtype.kind == "f":
        array = array.astype(np.float32)
    elif array.dtype == np.int64:
        array = array.astype(np.int32)
    return torch.from_numpy(np.array(array))
