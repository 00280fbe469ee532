"""The denoiser of Apple's Core ML layout: what it is fed of z and the prompt, and x0 = k_z z - k_e F of what it gives.

The embeddings go in as [B, D, 1, T], channels first. It returns F as `noise_pred`; the formula is computed here, in
float32.
"""

from collections.abc import Mapping

import numpy as np

from edgestep.artifact import OneStep


def denoiser_feeds(contract: OneStep, z: np.ndarray, told: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return `sample` float32 [B, C, h, w] and `encoder_hidden_states` [B, D, 1, T], of embeddings [B, T, D]."""
    embeds = np.ascontiguousarray(told["encoder_hidden_states"].transpose(0, 2, 1))[:, :, None]
    return {"sample": np.float32(contract.k_in) * z, "encoder_hidden_states": embeds}


def x0_from_noise_pred(contract: OneStep, z: np.ndarray, f: np.ndarray) -> np.ndarray:
    """Return x0 float32 [B, C, h, w] of the noise and the network's own output, of one step."""
    return np.float32(contract.k_z) * z - np.float32(contract.k_e) * f.astype(np.float32, copy=False)
