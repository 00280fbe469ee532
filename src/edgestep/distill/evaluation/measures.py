"""What was drawn and judged -> one row of measures per way to draw, each with its 95 % interval."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from edgestep.artifact import BadInput
from edgestep.distill.evaluation.accuracy import hits
from edgestep.distill.evaluation.bootstrap import interval, resamples
from edgestep.distill.evaluation.diversity import diversity_ratio, spread_of_prompts
from edgestep.distill.evaluation.drawing import Judged
from edgestep.distill.evaluation.frechet import frechet_distance
from edgestep.distill.evaluation.gathered import Drawn, Gathered
from edgestep.distill.evaluation.kid import kernel_distance
from edgestep.distill.evaluation.precision_recall import precision_recall
from edgestep.distill.evaluation.sizes import Sizes

REAL = "real pictures, other poses"
"""The row that is no generator: what the measures give to pictures of the data itself."""


@dataclass(frozen=True)
class Estimate:
    """A value and the ends of its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Row:
    """The measures of one way to draw; None where the real pictures have none."""

    name: str
    frechet: Estimate
    kernel: Estimate
    precision: Estimate
    recall: Estimate
    top1: Estimate
    top5: Estimate
    held_out_top1: Estimate | None = None
    held_out_top5: Estimate | None = None
    diversity: Estimate | None = None
    nfe: int | None = None
    seconds: Mapping[str, float] | None = None


def measure(gathered: Gathered, teacher: str, sizes: Sizes) -> list[Row]:
    """Return a row for the real pictures and one per way; diversity is relative to the way called `teacher`."""
    if teacher not in gathered.ways:
        raise BadInput(f"got no {teacher!r} among {', '.join(gathered.ways)}; expected the teacher; draw with it too")
    rows = [Row(REAL, **_against_real(gathered.real, gathered.real_again, sizes))]
    reference = spread_of_prompts(gathered.ways[teacher].diverse)
    return rows + [_row(name, drawn, gathered.real, reference, sizes) for name, drawn in gathered.ways.items()]


def _row(name: str, drawn: Drawn, real: Judged, reference: np.ndarray, sizes: Sizes) -> Row:
    return Row(
        name,
        **_against_real(real, drawn.training, sizes),
        held_out_top1=_share(hits(drawn.held_out.ranks, 1), sizes),
        held_out_top5=_share(hits(drawn.held_out.ranks, 5), sizes),
        diversity=_diversity(spread_of_prompts(drawn.diverse), reference, sizes),
        nfe=drawn.nfe,
        seconds=asdict(drawn.seconds),
    )


def _against_real(real: Judged, drawn: Judged, sizes: Sizes) -> dict[str, Estimate]:
    precise, recalled = precision_recall(real.features, drawn.features)
    return {
        "frechet": _frechet(real.features, drawn.features, sizes),
        "kernel": _kernel(real.features, drawn.features, sizes),
        "precision": _share(precise, sizes),
        "recall": _share(recalled, sizes),
        "top1": _share(hits(drawn.ranks, 1), sizes),
        "top5": _share(hits(drawn.ranks, 5), sizes),
    }


def _both(real: np.ndarray, drawn: np.ndarray, sizes: Sizes) -> tuple[np.ndarray, np.ndarray]:
    first = resamples(len(real), sizes.seed, sizes.resamples)
    return first, resamples(len(drawn), sizes.seed + 1, sizes.resamples)


def _frechet(real: np.ndarray, drawn: np.ndarray, sizes: Sizes) -> Estimate:
    value = frechet_distance(real, drawn)
    both = zip(*_both(real, drawn, sizes), strict=True)
    again = np.array([frechet_distance(real, drawn, counts) for counts in both])
    low, high = interval(again, around=value)
    return Estimate(value, max(low, 0.0), high)


def _kernel(real: np.ndarray, drawn: np.ndarray, sizes: Sizes) -> Estimate:
    again = kernel_distance(real, drawn, _both(real, drawn, sizes))
    return Estimate(float(kernel_distance(real, drawn)), *interval(again))


def _share(hit: np.ndarray, sizes: Sizes) -> Estimate:
    counts = resamples(len(hit), sizes.seed, sizes.resamples)
    return Estimate(float(hit.mean()), *interval(counts @ hit / len(hit)))


def _diversity(drawn: np.ndarray, reference: np.ndarray, sizes: Sizes) -> Estimate:
    counts = resamples(len(drawn), sizes.seed, sizes.resamples)
    return Estimate(float(diversity_ratio(drawn, reference)), *interval(diversity_ratio(drawn, reference, counts)))


def row_json(row: Row) -> dict[str, Any]:
    """Return the row as JSON holds it, without what it has not."""
    return {name: value for name, value in asdict(row).items() if value is not None}
