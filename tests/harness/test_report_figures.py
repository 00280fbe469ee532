"""Numbers as people read them; the difference picture and its PSNR against numpy."""

import base64
import io
import math

import numpy as np
import pytest
from PIL import Image

from edgestep.harness import figures
from edgestep.harness.parity.measures import psnr_db, unit_from_picture
from edgestep.harness.reporting.picture_data import WIDEST, data_uri, difference_of, psnr_of


@pytest.mark.parametrize(
    "seconds,text",
    [
        (0.0123456, "12.3 ms"),
        (0.00940, "9.40 ms"),
        (0.123, "123 ms"),
        (0.00005234, "0.0523 ms"),
        (0.9996, "1.00 s"),
        (0.9994, "999 ms"),
        (1.437, "1.44 s"),
        (61.23, "61.2 s"),
        (0.0, "0 ms"),
        (math.inf, "∞"),
        (math.nan, figures.MISSING),
        (None, figures.MISSING),
    ],
)
def test_times(seconds, text):
    assert figures.time_text(seconds) == text


@pytest.mark.parametrize(
    "count,text",
    [
        (11_420_000, "11.4 MB"),
        (999_700, "1.00 MB"),
        (532, "0.532 kB"),
        (3_438_000_000, "3.44 GB"),
        (None, figures.MISSING),
        (0, figures.MISSING),
    ],
)
def test_sizes(count, text):
    assert figures.size_text(count) == text


@pytest.mark.parametrize(
    "measure,value,limit,text",
    [
        ("image_psnr_db", 41.23, ">= 40", "41.2 dB"),
        ("image_psnr_db", 39.97, ">= 40", "39.97 dB"),
        ("image_psnr_db", 200.0, ">= 40", "equal"),
        ("image_ssim", 0.98996, ">= 0.99", "0.98996"),
        ("image_ssim", 0.99999, ">= 0.999", "0.99999"),
        ("image_ssim", 1.0, ">= 0.999", "1.0000"),
        ("prompt_sensitivity", 1.10004, "0.9 .. 1.1", "1.10004"),
        ("noise_sensitivity", 0.5, "0.9 .. 1.1", "0.5000"),
        ("finite", 2.0, "0 cases", "2 cases"),
        ("x0_cosine", math.nan, "report", "NaN"),
        ("x0_sqnr_db", None, "", figures.MISSING),
        ("x0_sqnr_db", -3.21, ">= 80", f"{figures.MINUS}3.2 dB"),
    ],
)
def test_a_measure_is_never_rounded_onto_its_limit(measure, value, limit, text):
    assert figures.measure_text(measure, value, limit) == text


@pytest.mark.parametrize("limit,bounds", [(">= 40", (40.0,)), ("0.98 .. 1.02", (0.98, 1.02)), ("report", ())])
def test_bounds(limit, bounds):
    assert figures.bounds_of(limit) == bounds


@pytest.mark.parametrize("ratio,text", [(92.14, "92.1"), (184.4, "184"), (1.0, "1.00"), (math.nan, None), (None, None)])
def test_ratios(ratio, text):
    assert figures.ratio_text(ratio) == (text + figures.TIMES if text else figures.MISSING)


def test_difference_is_ten_times_amplified_and_clipped():
    reference = np.array([[[0, 200, 7]]], np.uint8)
    picture = np.array([[[3, 100, 7]]], np.uint8)
    assert difference_of(reference, picture).tolist() == [[[30, 255, 0]]]
    assert difference_of(picture, reference).tolist() == [[[30, 255, 0]]]


def test_psnr_is_the_one_that_the_gate_uses():
    random = np.random.default_rng(0)
    one, other = random.integers(0, 256, (2, 16, 16, 3), dtype=np.uint8)
    assert psnr_of(one, other) == pytest.approx(psnr_db(unit_from_picture(one), unit_from_picture(other)), abs=1e-9)
    assert psnr_of(one, one) == math.inf


@pytest.mark.parametrize("side,shown", [(64, 64), (WIDEST, WIDEST), (512, 256), (768, 256)])
def test_a_data_uri_holds_the_picture_and_large_ones_are_shrunk(side, shown):
    picture = np.random.default_rng(1).integers(0, 256, (side, side, 3), dtype=np.uint8)
    head, _, body = data_uri(picture).partition(",")
    read = np.asarray(Image.open(io.BytesIO(base64.b64decode(body))))
    assert head == "data:image/png;base64" and read.shape == (shown, shown, 3)
    factor = side // shown
    blocks = picture.reshape(shown, factor, shown, factor, 3).mean((1, 3))
    assert np.abs(read - blocks).max() < 1
