"""Seed or file -> the noise itself: float32 [1, C, h, w], standard normal."""

from pathlib import Path

import numpy as np

from edgestep.artifact import BadInput, OneStep


def noise_from_seed(seed: int, latent_shape: tuple[int, int, int]) -> np.ndarray:
    """Return standard normal noise float32 [1, C, h, w] of numpy's PCG64: the same on every machine."""
    return np.random.default_rng(seed).standard_normal((1, *latent_shape), dtype=np.float32)


def more_noise_from_seed(seed: int, contract: OneStep) -> dict[str, np.ndarray]:
    """Return {"more_noise": float32 [n-1, 1, C, h, w]} for a loop of n steps that adds noise, else nothing."""
    if not any(step.m_n for step in contract.next_steps):
        return {}
    shape = (len(contract.next_steps), 1, *contract.latent_shape)
    # A stream of its own, so that the first noise is that of one step.
    return {"more_noise": np.random.default_rng([seed, 1]).standard_normal(shape, dtype=np.float32)}


def noise_from_file(path: Path, contract: OneStep) -> np.ndarray:
    """Read a .npy without pickle; raise BadInput where it is missing, broken, of another shape, or not finite."""
    try:
        noise = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise BadInput(f"got {path}, which cannot be read ({error}); expected what numpy.save writes") from error
    expected = (1, *contract.latent_shape)
    if not isinstance(noise, np.ndarray) or noise.shape != expected or noise.dtype.kind != "f":
        shape, dtype = getattr(noise, "shape", "?"), getattr(noise, "dtype", type(noise).__name__)
        raise BadInput(f"got {dtype} {shape} in {path}; expected float32 {expected}; save noise of that shape")
    if not np.isfinite(noise).all():
        raise BadInput(f"got noise that is not finite in {path}; expected standard normal numbers; save it again")
    return noise.astype(np.float32)
