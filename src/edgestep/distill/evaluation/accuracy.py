"""Concept accuracy: is the prompt's concept among the k that the judge finds likeliest?"""

import numpy as np


def ranks_of(logits: np.ndarray, concepts: np.ndarray) -> np.ndarray:
    """Return int64 [N]: how many other concepts the judge finds at least as likely as the wanted one.

    `logits` [N, C], `concepts` [N]. 0 is top-1, below 5 top-5. NaN logits give the last rank: no comparison holds.
    """
    wanted = np.take_along_axis(logits, concepts[:, None], 1)
    return logits.shape[1] - 1 - (logits < wanted).sum(1)


def hits(ranks: np.ndarray, k: int) -> np.ndarray:
    """Return bool [N]: rank among the first k."""
    return ranks < k
