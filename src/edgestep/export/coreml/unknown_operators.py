"""ATen operators that coremltools 9 has no conversion for -> the same in those that it has. Masks need them."""

from collections.abc import Callable
from typing import Any


def replacements() -> dict[Any, Callable[..., Any]]:
    """Return operator -> function, as run_decompositions takes them."""
    import torch

    aten = torch.ops.aten
    return {
        aten.new_ones.default: _new_ones,
        aten.where.ScalarOther: _where_scalar_other,
        aten.where.ScalarSelf: _where_scalar_self,
    }


def _new_ones(tensor: Any, size: Any, *, dtype: Any = None, **_: Any) -> Any:
    import torch

    return torch.full(size, 1, dtype=dtype or tensor.dtype)


def _where_scalar_other(condition: Any, tensor: Any, other: Any) -> Any:
    import torch

    return torch.where(condition, tensor, torch.full((1,), other, dtype=tensor.dtype))


def _where_scalar_self(condition: Any, value: Any, other: Any) -> Any:
    import torch

    return torch.where(condition, torch.full((1,), value, dtype=other.dtype), other)
