"""Measures of one tensor or picture against its reference: the reference comes first, all are computed in float64.

Nothing here raises on NaN: a NaN in gives a NaN out, and every gate is written so that NaN fails. Shapes that differ
raise ValueError: numpy would broadcast them into a number that means nothing.
"""

import math

import numpy as np

MAX_DECIBELS = 200.0
"""What equal tensors are given: JSON has no infinity, and no float32 comparison reaches it."""

SSIM_WINDOW, SSIM_SIGMA = 11, 1.5
SSIM_K1, SSIM_K2 = 0.01, 0.03


def sqnr_db(reference: np.ndarray, output: np.ndarray) -> float:
    """Return 10 log10(sum ref^2 / sum (ref - out)^2) in dB: any shape, within -200 .. 200."""
    reference, output = _same_shape(reference, output)
    return _decibels(float(np.sum(reference**2)), float(np.sum((reference - output) ** 2)))


def cosine(reference: np.ndarray, output: np.ndarray) -> float:
    """Return the cosine of the flattened tensors, NaN where either is all zero."""
    reference, output = _same_shape(reference, output)
    norms = float(np.linalg.norm(reference) * np.linalg.norm(output))
    return float(np.vdot(reference, output)) / norms if norms != 0 else math.nan


def psnr_db(reference: np.ndarray, output: np.ndarray) -> float:
    """Return the peak signal-to-noise ratio in dB of pictures in [0, 1]; the peak is 1.0 whatever the pictures hold."""
    reference, output = _same_shape(reference, output)
    return _decibels(1.0, float(np.mean((reference - output) ** 2)))


def ssim(reference: np.ndarray, output: np.ndarray) -> float:
    """Return the structural similarity of pictures [H, W, 3] or [H, W] in [0, 1], the mean over channels.

    Wang et al. 2004: Gaussian window of 11 x 11 with sigma 1.5, K1 0.01, K2 0.03, population covariance, only
    where the whole window lies inside the picture. Raises ValueError below 11 x 11 pixels.
    """
    reference, output = _same_shape(reference, output)
    if min(reference.shape[:2]) < SSIM_WINDOW:
        raise ValueError(f"got a picture of {reference.shape[:2]}; expected at least {SSIM_WINDOW} x {SSIM_WINDOW}")
    mean_r, mean_o = _blurred(reference), _blurred(output)
    var_r = _blurred(reference**2) - mean_r**2
    var_o = _blurred(output**2) - mean_o**2
    covariance = _blurred(reference * output) - mean_r * mean_o
    c1, c2 = SSIM_K1**2, SSIM_K2**2
    luminance = (2 * mean_r * mean_o + c1) / (mean_r**2 + mean_o**2 + c1)
    structure = (2 * covariance + c2) / (var_r + var_o + c2)
    return float(np.mean(luminance * structure))


def rms_difference(first: np.ndarray, second: np.ndarray) -> float:
    """Return the root of the mean squared difference of two tensors of one shape."""
    first, second = _same_shape(first, second)
    return float(np.sqrt(np.mean((first - second) ** 2)))


def sensitivity(
    reference_first: np.ndarray, reference_second: np.ndarray, first: np.ndarray, second: np.ndarray
) -> float:
    """Return how far the artifact's pair of pictures lies apart over how far the reference's pair does.

    1 means that the artifact listens to its prompt (or its noise) as much as the reference. NaN where the reference's
    pair is equal: there is nothing to compare then.
    """
    apart = rms_difference(reference_first, reference_second)
    return rms_difference(first, second) / apart if apart != 0 else math.nan


def unit_from_picture(picture: np.ndarray) -> np.ndarray:
    """Return float64 in [0, 1] from uint8."""
    return picture.astype(np.float64) / 255.0


def _same_shape(reference: np.ndarray, output: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if reference.shape != output.shape:
        raise ValueError(f"got shape {output.shape}; expected the reference's {reference.shape}")
    return reference.astype(np.float64), output.astype(np.float64)


def _decibels(signal: float, noise: float) -> float:
    if not (math.isfinite(signal) and math.isfinite(noise)):
        return math.nan
    if noise == 0 or signal == 0:
        return MAX_DECIBELS if noise == 0 else -MAX_DECIBELS
    return max(-MAX_DECIBELS, min(MAX_DECIBELS, 10 * math.log10(signal / noise)))


def _blurred(picture: np.ndarray) -> np.ndarray:
    """Gaussian window over the first two axes, kept where the whole window fits."""
    offsets = np.arange(SSIM_WINDOW) - SSIM_WINDOW // 2
    window = np.exp(-(offsets**2) / (2 * SSIM_SIGMA**2))
    window /= window.sum()
    for axis in (0, 1):
        views = np.lib.stride_tricks.sliding_window_view(picture, SSIM_WINDOW, axis=axis)
        picture = views @ window
    return picture
