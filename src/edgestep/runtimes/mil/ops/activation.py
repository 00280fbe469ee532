"""Activations: relu, gelu, softmax and the like. NaN stays NaN in all of them."""

import torch

from edgestep.runtimes.mil.arguments import Value, integer, one_of
from edgestep.runtimes.mil.ops.families import Op, of_x

GELU = ("EXACT", "TANH_APPROXIMATION", "SIGMOID_APPROXIMATION")


def clamped_relu(x: torch.Tensor, alpha: torch.Tensor, beta: torch.Tensor) -> torch.Tensor:
    """Return min(beta, x) from 0 on, min(beta, alpha x) below; value_inference differs where beta < 0."""
    return torch.minimum(torch.where(x < 0, alpha * x, x), torch.as_tensor(beta, dtype=x.dtype, device=x.device))


def elu(x: torch.Tensor, alpha: torch.Tensor) -> torch.Tensor:
    """Return x above 0, alpha (e^x - 1) below."""
    return torch.where(x < 0, alpha * torch.expm1(x), x)


def gelu(x: torch.Tensor, mode: str = "EXACT") -> torch.Tensor:
    """Return x times the normal distribution's cumulative function, exactly or in one of MIL's approximations."""
    kind = one_of("gelu's mode", mode, GELU)
    if kind == "SIGMOID_APPROXIMATION":
        return x * torch.sigmoid(1.702 * x)
    return torch.nn.functional.gelu(x, approximate="none" if kind == "EXACT" else "tanh")


def leaky_relu(x: torch.Tensor, alpha: torch.Tensor) -> torch.Tensor:
    """Return x from 0 on, alpha x below."""
    return torch.where(x < 0, alpha * x, x)


def linear_activation(x: torch.Tensor, alpha: torch.Tensor, beta: torch.Tensor) -> torch.Tensor:
    """Return alpha x + beta."""
    return alpha * x + beta


def prelu(x: torch.Tensor, alpha: torch.Tensor) -> torch.Tensor:
    """Return x above 0, alpha[c] x below; x [B, C, 1..3 more], alpha [C]."""
    return torch.where(x < 0, _by_channel(alpha, x) * x, x)


def scaled_tanh(x: torch.Tensor, alpha: torch.Tensor, beta: torch.Tensor) -> torch.Tensor:
    """Return alpha tanh(beta x)."""
    return alpha * torch.tanh(beta * x)


def sigmoid_hard(x: torch.Tensor, alpha: torch.Tensor, beta: torch.Tensor) -> torch.Tensor:
    """Return alpha x + beta, held within [0, 1]."""
    return (alpha * x + beta).clamp(0, 1)


def softplus(x: torch.Tensor) -> torch.Tensor:
    """Return log(1 + e^x), also where e^x is infinite."""
    return torch.logaddexp(x, torch.zeros_like(x))


def softplus_parametric(x: torch.Tensor, alpha: torch.Tensor, beta: torch.Tensor) -> torch.Tensor:
    """Return alpha[c] log(1 + e^(beta[c] x)); x [B, C, 1 or more], alpha and beta [C].

    Finite wherever that is: value_inference's is infinite as soon as e^(beta x) is.
    """
    return _by_channel(alpha, x) * softplus(_by_channel(beta, x) * x)


def softmax(x: torch.Tensor, axis: Value | int = -1) -> torch.Tensor:
    """Return e^x over its sum along `axis`."""
    return torch.softmax(x, integer(axis))


def softsign(x: torch.Tensor) -> torch.Tensor:
    """Return x / (1 + |x|)."""
    return x / (1 + x.abs())


def thresholded_relu(x: torch.Tensor, alpha: torch.Tensor) -> torch.Tensor:
    """Return x from alpha on, 0 below."""
    return torch.where(x < alpha, torch.zeros_like(x), x)


def _by_channel(values: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    return values.reshape(-1, *[1] * (x.dim() - 2))


OPS: dict[str, Op] = {
    "clamped_relu": clamped_relu,
    "elu": elu,
    "gelu": gelu,
    "leaky_relu": leaky_relu,
    "linear_activation": linear_activation,
    "prelu": prelu,
    "relu": of_x(torch.relu),
    "relu6": of_x(lambda x: x.clamp(0, 6)),
    "scaled_tanh": scaled_tanh,
    "sigmoid": of_x(torch.sigmoid),
    "sigmoid_hard": sigmoid_hard,
    "silu": of_x(torch.nn.functional.silu),
    "softmax": softmax,
    "softplus": softplus,
    "softplus_parametric": softplus_parametric,
    "softsign": softsign,
    "thresholded_relu": thresholded_relu,
}
