"""Measures against closed forms and scikit-image."""

import math

import numpy as np
import pytest

from edgestep.harness.parity.measures import (
    MAX_DECIBELS,
    cosine,
    psnr_db,
    sensitivity,
    sqnr_db,
    ssim,
    unit_from_picture,
)


def _random(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random(shape)


@pytest.mark.parametrize("decibels", [10.0, 40.0, 80.0])
def test_sqnr_of_a_known_error(decibels):
    reference = _random(1, 4, 8, 8).astype(np.float32)
    error = np.where(np.arange(reference.size).reshape(reference.shape) % 2, 1.0, -1.0)
    error *= np.sqrt(np.mean(reference.astype(float) ** 2)) * 10 ** (-decibels / 20)
    assert sqnr_db(reference, reference + error) == pytest.approx(decibels, abs=1e-9)


def test_sqnr_is_normalised_by_the_reference():
    assert sqnr_db(np.ones(4), 2 * np.ones(4)) == pytest.approx(0.0)
    assert sqnr_db(2 * np.ones(4), np.ones(4)) == pytest.approx(20 * math.log10(2))


@pytest.mark.parametrize("levels", [1, 5])
def test_psnr_has_peak_one_whatever_the_picture_holds(levels):
    picture = (_random(16, 16, 3) * 100).astype(np.uint8)
    off = picture + np.uint8(levels)
    assert psnr_db(unit_from_picture(picture), unit_from_picture(off)) == pytest.approx(20 * math.log10(255 / levels))


@pytest.mark.parametrize("measure", [sqnr_db, psnr_db])
def test_equal_is_a_large_finite_number(measure):
    picture = _random(12, 12, 3)
    assert measure(picture, picture) == MAX_DECIBELS
    assert measure(np.zeros(3), np.ones(3)) == (-MAX_DECIBELS if measure is sqnr_db else 0.0)


def test_cosine():
    assert cosine(np.array([1.0, 0.0]), np.array([1.0, 1.0])) == pytest.approx(math.sqrt(0.5))
    assert cosine(np.array([1.0, 2.0]), np.array([-2.0, -4.0])) == pytest.approx(-1.0)
    assert math.isnan(cosine(np.ones(2), np.zeros(2)))


@pytest.mark.parametrize("shape", [(11, 11), (16, 16, 3), (40, 29, 3)])
@pytest.mark.parametrize("amount", [0.0, 0.02, 0.3])
def test_ssim_is_that_of_scikit_image(shape, amount):
    metrics = pytest.importorskip("skimage.metrics")
    reference = _random(*shape)
    output = np.clip(reference + amount * (_random(*shape, seed=1) - 0.5), 0, 1)
    theirs = metrics.structural_similarity(
        reference,
        output,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        data_range=1.0,
        channel_axis=2 if len(shape) == 3 else None,
    )
    assert ssim(reference, output) == pytest.approx(theirs, abs=1e-9)


def test_ssim_of_constant_pictures_is_its_luminance_term():
    black, grey = np.zeros((16, 16, 3)), np.full((16, 16, 3), 0.5)
    assert ssim(black, grey) == pytest.approx(1e-4 / (0.25 + 1e-4), rel=1e-6)
    with pytest.raises(ValueError, match="at least 11"):
        ssim(np.zeros((10, 16)), np.zeros((10, 16)))


def test_sensitivity_is_the_ratio_of_distances():
    a, b = _random(8, 8, seed=1), _random(8, 8, seed=2)
    assert sensitivity(a, b, a, a + 0.5 * (b - a)) == pytest.approx(0.5)
    assert sensitivity(a, b, a, a) == 0.0
    assert math.isnan(sensitivity(a, a, a, b))


@pytest.mark.parametrize("measure", [sqnr_db, psnr_db, cosine, ssim])
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_value_that_is_not_finite_gives_nan(measure, bad):
    reference = _random(12, 12)
    output = reference.copy()
    output[6, 6] = bad
    with np.errstate(invalid="ignore"):
        assert math.isnan(measure(reference, output))


@pytest.mark.parametrize("measure", [sqnr_db, psnr_db, cosine, ssim])
def test_shapes_never_broadcast(measure):
    with pytest.raises(ValueError, match="expected the reference's"):
        measure(_random(12, 12, 3), _random(12, 12, 1))
