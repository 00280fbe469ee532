"""A suspect piece and its error -> which of its operators it is, where the error itself tells.

An error that is the same in every row of [.., N] depends on no input: of a product and an Add of a bias it is the Add.
"""

from dataclasses import replace

import numpy as np

from edgestep.harness.bisection.segments import Segment

VARIES = 1e-3
"""Share of the error's energy that may vary between rows: rounding."""
LINEAR = ("MatMul", "Add")


def blamed(segment: Segment, expected: np.ndarray, made: np.ndarray) -> Segment:
    """Return the piece, called after its Add where the error is a bias's."""
    if segment.ops != LINEAR or not _is_bias(expected.astype(np.float64) - made.astype(np.float64)):
        return segment
    return replace(segment, op=LINEAR[1], operation=f"{segment.module}/{LINEAR[1]}")


def _is_bias(error: np.ndarray) -> bool:
    rows = error.reshape(-1, error.shape[-1])
    if len(rows) < 2 or not np.isfinite(rows).all():
        return False
    energy = float(np.sum(rows**2))
    return energy > 0 and float(np.sum((rows - rows.mean(0)) ** 2)) <= VARIES * energy
