"""MIL's gathers and scatters -> torch's.

An index below 0 counts from the end, as iOS 15 and 16 define it; iOS 17 leaves that open, and an error where
`validate_indices` is set. One outside of the tensor is an error here also where MIL leaves open what comes.

A scatter puts its updates where the gather of the same kind would take from: each is its gather applied to positions.
"""

import math

import torch

from edgestep.artifact import BadInput
from edgestep.runtimes.mil.arguments import flag, integer, one_of
from edgestep.runtimes.mil.ops.families import Op

MODES = ("update", "add", "sub", "mul", "div", "max", "min")
Flag = torch.Tensor | bool
Int = torch.Tensor | int


def gather(
    x: torch.Tensor, indices: torch.Tensor, axis: Int = 0, batch_dims: Int = 0, validate_indices: Flag = False
) -> torch.Tensor:
    """D, N -> D[:axis] + N[batch_dims:] + D[axis + 1:]."""
    at, shared = integer(axis) % x.dim(), integer(batch_dims)
    wanted = _wrapped(indices, x.shape[at], validate_indices)
    if not shared:
        taken = x.index_select(at, wanted.reshape(-1))
        return taken.reshape((*x.shape[:at], *wanted.shape, *x.shape[at + 1 :]))
    batch, inner, rest = x.shape[:shared], x.shape[shared:at], x.shape[at + 1 :]
    rows = x.reshape(math.prod(batch), math.prod(inner), x.shape[at], math.prod(rest))
    picks = wanted.reshape(rows.shape[0], 1, -1, 1).expand(-1, rows.shape[1], -1, rows.shape[3])
    return rows.gather(2, picks).reshape((*batch, *inner, *wanted.shape[shared:], *rest))


def gather_along_axis(
    x: torch.Tensor, indices: torch.Tensor, axis: Int = 0, validate_indices: Flag = False
) -> torch.Tensor:
    """Same rank -> the shape of `indices`."""
    at = integer(axis) % x.dim()
    return x.gather(at, _wrapped(indices, x.shape[at], validate_indices))


def gather_nd(
    x: torch.Tensor, indices: torch.Tensor, batch_dims: Int = 0, validate_indices: Flag = False
) -> torch.Tensor:
    """D, K -> K[:-1] + D[batch_dims + K[-1]:]: the last dimension of `indices` is a place in x."""
    shared, depth = integer(batch_dims), indices.shape[-1]
    batch = x.shape[:shared]
    rows = x.reshape(math.prod(batch), *x.shape[shared:])
    places = _checked(indices, validate_indices).reshape(rows.shape[0], -1, depth)
    which = torch.arange(rows.shape[0], device=x.device).reshape(-1, 1).expand(places.shape[:2])
    picked = rows[(which, *places.unbind(-1))]
    return picked.reshape((*indices.shape[:-1], *x.shape[shared + depth :]))


def scatter(
    data: torch.Tensor,
    indices: torch.Tensor,
    updates: torch.Tensor,
    axis: Int = 0,
    mode: str = "add",
    validate_indices: Flag = False,
) -> torch.Tensor:
    """updates: D[:axis] + N + D[axis + 1:] -> D."""
    return _scattered(data, gather(_positions(data), indices, axis, 0, validate_indices), updates, mode)


def scatter_along_axis(
    data: torch.Tensor,
    indices: torch.Tensor,
    updates: torch.Tensor,
    axis: Int = 0,
    mode: str = "add",
    validate_indices: Flag = False,
) -> torch.Tensor:
    """updates: the shape of `indices` -> D. coremltools' value inference puts them whatever the mode."""
    return _scattered(data, gather_along_axis(_positions(data), indices, axis, validate_indices), updates, mode)


def scatter_nd(
    data: torch.Tensor,
    indices: torch.Tensor,
    updates: torch.Tensor,
    mode: str = "add",
    validate_indices: Flag = False,
) -> torch.Tensor:
    """updates: K[:-1] + D[K[-1]:] -> D."""
    return _scattered(data, gather_nd(_positions(data), indices, 0, validate_indices), updates, mode)


def _wrapped(indices: torch.Tensor, size: int, validate: Flag) -> torch.Tensor:
    wide = _checked(indices, validate)
    return torch.where(wide < 0, wide + size, wide)


def _checked(indices: torch.Tensor, validate: Flag) -> torch.Tensor:
    """Return the indices as int64; raise BadInput for one below 0 where the program asks that they be checked."""
    wide = indices.long()
    if flag(validate) and wide.numel() and int(wide.min()) < 0:
        raise BadInput(
            f"got the index {int(wide.min())} in a program that validates its indices; expected none below 0; check "
            "what is fed"
        )
    return wide


def _positions(data: torch.Tensor) -> torch.Tensor:
    return torch.arange(data.numel(), device=data.device).reshape(data.shape)


def _scattered(data: torch.Tensor, places: torch.Tensor, updates: torch.Tensor, mode: str) -> torch.Tensor:
    flat, at, new = data.reshape(-1).clone(), places.reshape(-1), updates.reshape(-1).to(data.dtype)
    kind = one_of("mode", mode.lower(), MODES)
    if kind == "update":
        flat.scatter_(0, at, new)
    elif kind in ("add", "sub"):
        flat.scatter_add_(0, at, new if kind == "add" else -new)
    elif kind == "div":
        divisors = torch.ones_like(flat).scatter_reduce_(0, at, new, "prod")
        flat = torch.div(flat, divisors, rounding_mode=None if flat.is_floating_point() else "trunc")
    else:
        flat.scatter_reduce_(0, at, new, {"mul": "prod", "max": "amax", "min": "amin"}[kind])
    return flat.reshape(data.shape)


OPS: dict[str, Op] = {
    "gather": gather,
    "gather_along_axis": gather_along_axis,
    "gather_nd": gather_nd,
    "scatter": scatter,
    "scatter_along_axis": scatter_along_axis,
    "scatter_nd": scatter_nd,
}
MOVES = frozenset(("gather", "gather_along_axis", "gather_nd"))
