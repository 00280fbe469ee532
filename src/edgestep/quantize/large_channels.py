"""X W = (X / s)(s W) where a few channels of X are far larger than the rest: no range serves them and loses the others.

SmoothQuant's scales (arXiv 2211.10438, equation 4, alpha 0.5) for the large channels alone, none for the others. One
scale for a tensor, or for an output channel's weights, otherwise serves the large and loses all others; trained
networks have such channels in front of most linear layers. A multiplication of its own, not folded into what makes X:
a norm gives what PyTorch's gives, other readers of X are not touched, and a network without large channels stays as
it is.
"""

import numpy as np

LARGE = 16.0
"""Times the median of the channels' largest magnitudes. The bundled generator's largest channel has 15 times."""


def scales(largest: np.ndarray, reach: np.ndarray) -> np.ndarray:
    """Return what each channel is divided by: 1, or more where it is large; of the largest magnitudes of X and W."""
    typical = float(np.median(largest[largest > 0])) if (largest > 0).any() else 0.0
    if typical == 0:
        return np.ones_like(largest)
    wanted = np.sqrt(largest / np.maximum(reach, 1e-12))
    usual = float(np.median(wanted[largest > 0]))
    large = (largest > LARGE * typical) & (reach > 0)
    return np.where(large, np.maximum(wanted / usual, 1.0), 1.0)
