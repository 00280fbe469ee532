"""MIL's norms -> torch's."""

import torch
from torch.nn import functional

from edgestep.runtimes.mil.arguments import integer, ints, number
from edgestep.runtimes.mil.ops.families import Op


def batch_norm(
    x: torch.Tensor,
    mean: torch.Tensor,
    variance: torch.Tensor,
    gamma: torch.Tensor | None = None,
    beta: torch.Tensor | None = None,
    epsilon: torch.Tensor | float = 1e-5,
) -> torch.Tensor:
    """[n, C, *D] by the given mean and variance of each channel."""
    return functional.batch_norm(x, mean, variance, gamma, beta, False, 0.0, number(epsilon))


def instance_norm(
    x: torch.Tensor,
    gamma: torch.Tensor | None = None,
    beta: torch.Tensor | None = None,
    epsilon: torch.Tensor | float = 1e-5,
) -> torch.Tensor:
    """[n, C, *D], each channel of each picture by its own mean and variance."""
    return torch.group_norm(x, x.shape[1], gamma, beta, number(epsilon))


def l2_norm(x: torch.Tensor, epsilon: torch.Tensor | float = 1e-6) -> torch.Tensor:
    """[*B, C, H, W] over the root of the sum of squares of its last three dimensions."""
    return x / (x.square().sum((-3, -2, -1), keepdim=True) + number(epsilon)).sqrt()


def layer_norm(
    x: torch.Tensor,
    axes: torch.Tensor | None = None,
    gamma: torch.Tensor | None = None,
    beta: torch.Tensor | None = None,
    epsilon: torch.Tensor | float = 1e-5,
) -> torch.Tensor:
    """By mean and variance over `axes`, all by default; gamma and beta have the shape of these."""
    over = sorted(axis % x.dim() for axis in ints(axes)) if axes is not None else list(range(x.dim()))
    last = list(range(x.dim() - len(over), x.dim()))
    moved = x if over == last else x.movedim(over, last)
    normed = functional.layer_norm(moved, moved.shape[-len(over) :], gamma, beta, number(epsilon))
    return normed if over == last else normed.movedim(last, over)


def local_response_norm(
    x: torch.Tensor,
    size: torch.Tensor | int,
    alpha: torch.Tensor | float = 1e-4,
    beta: torch.Tensor | float = 0.75,
    k: torch.Tensor | float = 1.0,
) -> torch.Tensor:
    """[n, C, *D] over (k + alpha / size * the sum of squares of `size` channels around it) ** beta."""
    return functional.local_response_norm(x, integer(size), number(alpha), number(beta), number(k))


OPS: dict[str, Op] = {
    "batch_norm": batch_norm,
    "instance_norm": instance_norm,
    "l2_norm": l2_norm,
    "layer_norm": layer_norm,
    "local_response_norm": local_response_norm,
}
