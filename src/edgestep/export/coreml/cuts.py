"""A flow and a limit of bytes -> where to cut it: as few pieces as the limit allows, of about equal weight each, at
the places near there that have the least to carry across (skip connections of a UNet).
"""

import math
from itertools import pairwise

import numpy as np

from edgestep.artifact import BadInput
from edgestep.export.coreml.flow import Flow

SLACK = 0.2
"""How far from an equal share a cut may be, as a part of the share."""
MOST_PIECES = 64
MIB = 2**20


def cuts_of(flow: Flow, most_bytes: int) -> tuple[int, ...]:
    """Return the steps at which pieces of at most `most_bytes` of weights begin, () where one piece will do.

    Raises BadInput where no cut makes them small enough.
    """
    before, crossing = flow.weight_before(), flow.crossing_bytes()
    total = int(before[-1])
    for count in range(max(1, math.ceil(total / most_bytes)), MOST_PIECES + 1):
        cuts = _balanced(before, crossing, count, most_bytes)
        if cuts is not None and all(size <= most_bytes for size in piece_bytes(flow, cuts)):
            return cuts
    heaviest = max(sum(flow.blobs(i, i + 1).values()) for i in range(len(flow.steps)))
    raise BadInput(
        f"got pieces of at most {most_bytes / MIB:g} MiB for {total / MIB:.1f} MiB of weights, the largest of one "
        f"operation {heaviest / MIB:.1f} MiB; expected room for a few operations in each; give a larger --chunk-mib"
    )


def piece_bytes(flow: Flow, cuts: tuple[int, ...]) -> list[int]:
    """Return the bytes of weights of each piece; what several pieces need counts in each."""
    return [sum(flow.blobs(first, end).values()) for first, end in spans(flow, cuts)]


def spans(flow: Flow, cuts: tuple[int, ...]) -> list[tuple[int, int]]:
    """Return (first step, end) of each piece."""
    places = (0, *cuts, len(flow.steps))
    return list(pairwise(places))


def _balanced(before: np.ndarray, crossing: np.ndarray, count: int, most_bytes: int) -> tuple[int, ...] | None:
    """Return count - 1 cuts near equal shares, None where there is no place for one."""
    share = before[-1] / count
    cuts: list[int] = []
    for k in range(1, count):
        begin = cuts[-1] if cuts else 0
        near = (np.abs(before - k * share) <= SLACK * share) & (crossing >= 0)
        near &= (before - before[begin] <= most_bytes) & (before[-1] - before <= (count - k) * most_bytes)
        near[: begin + 1], near[-1] = False, False
        places = np.flatnonzero(near)
        if not places.size:
            return None
        off = np.abs(before[places] - k * share)
        cuts.append(int(places[np.lexsort((off, crossing[places]))[0]]))
    return tuple(cuts)
