"""One tensor in, the same shape out: abs, exp, round, cast and the like."""

import torch

from edgestep.artifact import BadInput
from edgestep.runtimes.mil.arguments import Value, number
from edgestep.runtimes.mil.ops.families import Op, of_x
from edgestep.runtimes.mil.types import NAMES


def sign(x: torch.Tensor) -> torch.Tensor:
    """Return -1, 0 or 1; NaN stays NaN, which torch's own sign makes 0."""
    return torch.where(torch.isnan(x), x, torch.sign(x)) if x.is_floating_point() else torch.sign(x)


def clip(x: torch.Tensor, alpha: Value, beta: Value) -> torch.Tensor:
    """Return x within [alpha, beta]; where alpha > beta, which iOS 15 lets through, beta."""
    return torch.minimum(torch.maximum(x, _like(alpha, x)), _like(beta, x))


def threshold(x: torch.Tensor, alpha: Value) -> torch.Tensor:
    """Return x, alpha where it is less."""
    return torch.maximum(x, _like(alpha, x))


def inverse(x: torch.Tensor, epsilon: Value | float = 1e-4) -> torch.Tensor:
    """Return 1 / (x + epsilon)."""
    return torch.reciprocal(x + number(epsilon))


def log(x: torch.Tensor, epsilon: Value | float = 1e-45) -> torch.Tensor:
    """Return log(x + epsilon)."""
    return torch.log(x + number(epsilon))


def rsqrt(x: torch.Tensor, epsilon: Value | float = 1e-12) -> torch.Tensor:
    """Return 1 / sqrt(x + epsilon)."""
    return torch.rsqrt(x + number(epsilon))


def cast(x: torch.Tensor, dtype: str) -> torch.Tensor:
    """Return x as that type: towards zero from floats, and modulo 2^bits into integers too narrow for it.

    uint16 and uint32 are held in a wider type, which would keep a negative number.
    """
    if dtype not in NAMES:
        raise BadInput(f"got a cast to {dtype!r}; expected one of {', '.join(NAMES)}; convert the model again")
    to = NAMES[dtype]
    if to.name not in ("uint16", "uint32") or x.dtype == torch.bool:
        return x.to(to.held)
    return (x.to(torch.int64) & ((1 << to.bits) - 1)).to(to.held)


def _like(bound: Value, x: torch.Tensor) -> torch.Tensor:
    return torch.as_tensor(bound, dtype=x.dtype, device=x.device)


OPS: dict[str, Op] = {
    "abs": of_x(torch.abs),
    "acos": of_x(torch.acos),
    "asin": of_x(torch.asin),
    "atan": of_x(torch.atan),
    "atanh": of_x(torch.atanh),
    "cast": cast,
    "ceil": of_x(torch.ceil),
    "clip": clip,
    "cos": of_x(torch.cos),
    "cosh": of_x(torch.cosh),
    "erf": of_x(torch.erf),
    "exp": of_x(torch.exp),
    "exp2": of_x(torch.exp2),
    "floor": of_x(torch.floor),
    "inverse": inverse,
    "log": log,
    "logical_not": of_x(torch.logical_not),
    "round": of_x(torch.round),  # half to even: MIL says only that 0.5 becomes 0, value_inference is numpy's
    "rsqrt": rsqrt,
    "sign": sign,
    "sin": of_x(torch.sin),
    "sinh": of_x(torch.sinh),
    "sqrt": of_x(torch.sqrt),
    "square": of_x(torch.square),
    "tan": of_x(torch.tan),
    "tanh": of_x(torch.tanh),
    "threshold": threshold,
}
