"""A work folder's captions -> the prompts of an evaluation, worded as in training and as never seen in it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgestep.distill.emoji.captions import held_out_wordings, training_wordings
from edgestep.distill.evaluation.prompts import Prompts, prompts_of


@dataclass(frozen=True)
class Wordings:
    """Prompts worded as in training, and worded as it never saw."""

    training: Prompts
    held_out: Prompts


def wordings_of(work: Path, concepts: Sequence[str]) -> Wordings:
    """Return the prompts of `work`/captions.json, by the judge's `concepts`."""
    return Wordings(prompts_of(training_wordings(work), concepts), prompts_of(held_out_wordings(work), concepts))
