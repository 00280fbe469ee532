"""W x = (W / s)(s x) where a few columns of W are far smaller than the rest: none is lost in the others' steps.

A channel that is large in what a layer reads often has small weights, and what the two give counts as much as anything.
In the steps of its row such a weight is 0 or 1. Known from the weights alone, without calibration.
"""

import numpy as np

from edgestep.quantize.channels import reach_of

SMALL = 16.0
"""Times smaller than the median of the columns' largest magnitudes. The bundled generator has no such column."""


def column_scales(values: np.ndarray, axis: int) -> np.ndarray | None:
    """Return s, float32 with one number for each input channel of a weight, 1 for most; None where all are 1.

    `axis` is the one of the inputs; channels without any weight keep 1.
    """
    reach = reach_of(values, axis).astype(np.float64)
    if not (reach > 0).any():
        return None
    typical = float(np.median(reach[reach > 0]))
    small = (reach > 0) & (reach * SMALL < typical)
    return np.where(small, reach / typical, 1.0).astype(np.float32) if small.any() else None
