"""Intra-prompt diversity: how far apart the pictures of one prompt are over seeds.

The mean distance of two pictures of a prompt in feature space, as LPIPS diversity is taken (Zhu et al. 2017,
BicycleGAN, section 4.2), with the judge's features in place of LPIPS.
"""

import numpy as np


def spread_of_prompts(features: np.ndarray) -> np.ndarray:
    """Return each prompt's mean pairwise distance [P], for features [P, S, D] of S >= 2 seeds."""
    features = np.asarray(features, np.float64)
    seeds = features.shape[1]
    first, second = np.triu_indices(seeds, 1)
    return np.linalg.norm(features[:, first] - features[:, second], axis=-1).mean(1)


def diversity_ratio(drawn: np.ndarray, teacher: np.ndarray, counts: np.ndarray | None = None) -> np.ndarray:
    """Return mean spread / the teacher's, from spreads [P] of the same prompts; one number, or one per row of `counts`.

    `counts` [R, P]: how often each prompt counts in R bootstrap resamples.
    """
    counts = np.ones(len(drawn)) if counts is None else counts
    return (counts @ drawn) / (counts @ teacher)
