"""Prompts with the concepts that they ask for, and the numbered noise that they are drawn from."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from edgestep.artifact import BadInput


@dataclass(frozen=True)
class Prompts:
    """`texts` and, for each, the index of its concept in the judge's list."""

    texts: tuple[str, ...]
    concepts: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.texts)

    def pick(self, count: int, seed: int) -> "Prompts":
        """Return `count` prompts in random order: all of them once before any comes twice."""
        chosen = permuted(len(self), count, seed)
        return Prompts(tuple(self.texts[i] for i in chosen), tuple(self.concepts[i] for i in chosen))

    def repeated(self, times: int) -> "Prompts":
        """Return each prompt `times` times in a row."""
        return Prompts(
            tuple(text for text in self.texts for _ in range(times)),
            tuple(concept for concept in self.concepts for _ in range(times)),
        )


def prompts_of(pairs: Sequence[tuple[str, str]], concepts: Sequence[str]) -> Prompts:
    """Return the prompts of (text, concept name) pairs, by the judge's `concepts`."""
    place = {name: i for i, name in enumerate(concepts)}
    unknown = sorted({name for _, name in pairs if name not in place})
    if unknown:
        raise BadInput(
            f"got {len(unknown)} concepts that the judge does not know ({unknown[0]!r}); expected some of its "
            f"{len(place)}; train a judge on this data, or take the one that belongs to it"
        )
    if not pairs:
        raise BadInput("got no prompts to evaluate; expected at least one; check the data folder's captions")
    return Prompts(tuple(text for text, _ in pairs), tuple(place[name] for _, name in pairs))


def permuted(total: int, count: int, seed: int) -> list[int]:
    """Return `count` indices below `total`, whole random permutations one after the other."""
    generator = torch.Generator().manual_seed(seed)
    rounds = -(-count // total)
    return torch.cat([torch.randperm(total, generator=generator) for _ in range(rounds)])[:count].tolist()


def noise_of(count: int, shape: tuple[int, int, int], seed: int) -> torch.Tensor:
    """Return float32 [count, C, h, w] on the CPU: the same numbers on every machine and for every way to draw."""
    return torch.randn((count, *shape), generator=torch.Generator().manual_seed(seed))
