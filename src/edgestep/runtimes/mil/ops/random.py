"""Random numbers: of a seed always the same, of none (-1) new ones each time. Not those that Core ML draws."""

import torch

from edgestep.runtimes.mil.arguments import Value, integer, ints, number, one_of
from edgestep.runtimes.mil.ops.families import Op


def random_bernoulli(shape: torch.Tensor, prob: Value | float = 0.5, seed: Value | int = -1) -> torch.Tensor:
    """Return 1 with probability `prob`, else 0."""
    return (_uniform(ints(shape), seed) < number(prob)).float().to(shape.device)


def random_uniform(
    shape: torch.Tensor, low: Value | float = 0.0, high: Value | float = 1.0, seed: Value | int = -1
) -> torch.Tensor:
    """Return numbers of [low, high), `low` where both are equal."""
    least, most = number(low), number(high)
    drawn = least + (most - least) * _uniform(ints(shape), seed)
    return torch.where(drawn < most, drawn, least).to(shape.device)


def random_normal(
    shape: torch.Tensor, mean: Value | float = 0.0, stddev: Value | float = 1.0, seed: Value | int = -1
) -> torch.Tensor:
    """Return normal numbers of that mean and standard deviation."""
    drawn = torch.randn(ints(shape), generator=_generator(seed))
    return (number(mean) + number(stddev) * drawn).to(shape.device)


def random_categorical(
    x: torch.Tensor, mode: str = "logits", size: Value | int = 1, seed: Value | int = -1
) -> torch.Tensor:
    """Return indices into the last axis of x, drawn with replacement, float [..., size].

    `x` holds logits or, in mode "probs", probabilities, which need not add up to 1.
    """
    kind = one_of("random_categorical's mode", mode, ("logits", "probs"))
    weights = (torch.softmax(x, -1) if kind == "logits" else x).cpu()
    rows, count = weights.reshape(-1, x.shape[-1]), integer(size)
    drawn = torch.multinomial(rows, count, replacement=True, generator=_generator(seed))
    return drawn.reshape(*x.shape[:-1], count).float().to(x.device)


def _uniform(shape: list[int], seed: Value | int) -> torch.Tensor:
    return torch.rand(shape, generator=_generator(seed))


def _generator(seed: Value | int) -> torch.Generator | None:
    fixed = integer(seed)
    return None if fixed == -1 else torch.Generator().manual_seed(fixed)


OPS: dict[str, Op] = {
    "random_bernoulli": random_bernoulli,
    "random_categorical": random_categorical,
    "random_normal": random_normal,
    "random_uniform": random_uniform,
}

RANDOM = frozenset(OPS)
