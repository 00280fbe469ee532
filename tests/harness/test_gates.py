"""The gate table is that of the design, and NaN fails everywhere."""

import math

import pytest

from edgestep.artifact import BadInput
from edgestep.harness.parity.gates import (
    IMAGE_PSNR,
    IMAGE_SSIM,
    NOISE_SENSITIVITY,
    PROMPT_SENSITIVITY,
    X0_SQNR,
    Gate,
    gates_for,
)


@pytest.mark.parametrize(
    ("scheme", "k_e", "x0", "psnr", "ssim", "low", "high"),
    [
        ("fp32", 14.6, 80, 60, 0.999, 0.99, 1.01),
        ("fp16", 14.6, 40, 40, 0.99, 0.98, 1.02),
        ("fp16", 5.0, 40, 40, 0.99, 0.98, 1.02),
        ("fp16", 1.0, 50, 40, 0.99, 0.98, 1.02),
        ("fp16", -1.0, 50, 40, 0.99, 0.98, 1.02),
        ("w8", 14.6, 30, 35, 0.98, 0.95, 1.05),
        ("w8a32", 1.0, 30, 35, 0.98, 0.95, 1.05),
        ("w8a8", 14.6, None, 28, 0.93, 0.90, 1.10),
        ("w8c_a8", 14.6, None, 28, 0.93, 0.90, 1.10),
        ("w8a16", 1.0, None, 28, 0.93, 0.90, 1.10),
        ("a16w8", 1.0, None, 28, 0.93, 0.90, 1.10),
        ("w4", 1.0, None, 25, 0.90, 0.90, 1.10),
        ("w4b32_a16", 1.0, None, 25, 0.90, 0.90, 1.10),
        ("w6a8", 1.0, None, 25, 0.90, 0.90, 1.10),
        ("p8", 14.6, 30, 35, 0.98, 0.95, 1.05),
        ("p6", 1.0, None, 25, 0.90, 0.90, 1.10),
        ("p4", 14.6, None, 25, 0.90, 0.90, 1.10),
        ("p2", 1.0, None, 25, 0.90, 0.90, 1.10),
        ("mixed", 1.0, None, 25, 0.90, 0.90, 1.10),
    ],
)
def test_rows(scheme, k_e, x0, psnr, ssim, low, high):
    gates = {gate.measure: gate for gate in gates_for(scheme, k_e)}
    assert (gates[X0_SQNR].low, gates[IMAGE_PSNR].low, gates[IMAGE_SSIM].low) == (x0, psnr, ssim)
    for sensitivity in (PROMPT_SENSITIVITY, NOISE_SENSITIVITY):
        assert (gates[sensitivity].low, gates[sensitivity].high) == (low, high)
    assert gates[X0_SQNR].reports_only == (x0 is None)


@pytest.mark.parametrize("scheme", ["", "int8", "w8a", "w2", "w16", "w8a4", "fp8", "w8a8;w8"])
def test_a_scheme_without_a_row_is_bad_input(scheme):
    with pytest.raises(BadInput, match="got scheme"):
        gates_for(scheme, 1.0)


@pytest.mark.parametrize("gate", [Gate("m"), Gate("m", 1.0), Gate("m", None, 2.0), Gate("m", 1.0, 2.0)])
def test_nan_never_passes(gate):
    assert not gate.passes(math.nan)
    assert gate.passes(1.5)


def test_limits_are_inclusive_and_read_well():
    gate = Gate("m", 0.98, 1.02)
    assert gate.passes(0.98) and gate.passes(1.02) and not gate.passes(0.9799) and not gate.passes(1.0201)
    assert [Gate("m", 40.0).limit, gate.limit, Gate("m").limit] == [">= 40", "0.98 .. 1.02", "report"]
