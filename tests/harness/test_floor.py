"""A gate stricter than twice the noise of PyTorch is unreachable: never a pass, failed only where it is no chance."""

import math

import pytest

from edgestep.harness.parity.floor import floor_texts, hold_against_floor, noise_of
from edgestep.harness.parity.gates import IMAGE_PSNR, IMAGE_SSIM, NOISE_SENSITIVITY, X0_SQNR, Gate
from edgestep.harness.parity.judge import verdict_of
from edgestep.harness.parity.worst import result_from_values


def _held(gate: Gate, value: float, floor: dict[str, float], scheme: str = "fp32"):
    results = (result_from_values(gate, [value, value], ["a", "b"]),)
    return hold_against_floor(results, (gate,), floor, scheme)[0]


def _noise_db(amplitude: float) -> float:
    """The dB of noise of this amplitude beside a signal of 1."""
    return -20 * math.log10(amplitude)


@pytest.mark.parametrize(("limit", "unreachable"), [(_noise_db(1.99e-4), True), (_noise_db(2.01e-4), False)])
@pytest.mark.parametrize("row", ["fp32_again", "fp32_other_threads", "cpu_fp32"])
def test_the_border_is_twice_the_noise_in_amplitude(limit, unreachable, row):
    gate, floor = Gate(X0_SQNR, limit), {f"{row} {X0_SQNR}": _noise_db(1e-4)}
    result = _held(gate, 199.0, floor)
    assert (result.unreachable, result.passed) == ((True, None) if unreachable else (False, True))
    assert result.word == ("unreachable" if unreachable else "passed")
    assert verdict_of([result]) == ("undecided" if unreachable else "passed")


def test_what_is_off_by_more_than_twice_the_noise_fails_all_the_same():
    gate, floor = Gate(IMAGE_PSNR, 60.0), {f"fp32_again {IMAGE_PSNR}": 64.0}
    near, far = _held(gate, 58.1, floor), _held(gate, 57.9, floor)
    assert (near.passed, near.word, near.failures) == (None, "unreachable", ())
    assert (far.passed, far.word, len(far.failures)) == (False, "failed", 2)
    assert near.unreachable and far.unreachable
    assert "64.0 dB is the floor (fp32 drawn again)" in near.reason and "more than twice" in far.reason


@pytest.mark.parametrize(
    ("gate", "floor", "value", "word"),
    [
        (Gate(IMAGE_SSIM, 0.999), 0.9996, 1.0, "passed"),
        (Gate(IMAGE_SSIM, 0.999), 0.9994, 1.0, "unreachable"),
        (Gate(IMAGE_SSIM, 0.999), 0.9994, 0.998, "failed"),
        (Gate(NOISE_SENSITIVITY, 0.99, 1.01), 1.004, 1.0, "passed"),
        (Gate(NOISE_SENSITIVITY, 0.99, 1.01), 0.994, 1.0, "unreachable"),
        (Gate(NOISE_SENSITIVITY, 0.99, 1.01), 0.994, 1.02, "failed"),
    ],
)
def test_measures_without_decibels(gate, floor, value, word):
    assert _held(gate, value, {f"fp32_again {gate.measure}": floor}).word == word


@pytest.mark.parametrize(
    ("value", "scheme", "word"),
    [
        (50.5, "fp16", "passed"),
        (49.0, "fp16", "unreachable"),
        (47.0, "fp16", "failed"),
        (49.0, "fp32", "failed"),
        (49.0, "w8a8", "failed"),
    ],
)
def test_the_floor_of_fp16_excuses_fp16_alone_and_no_more_than_twice(value, scheme, word):
    floor = {f"fp16 {X0_SQNR}": 54.0, f"fp32_again {X0_SQNR}": 120.0, f"bf16 {X0_SQNR}": 30.0, f"tf32 {X0_SQNR}": 40.0}
    assert _held(Gate(X0_SQNR, 50.0), value, floor, scheme).word == word


@pytest.mark.parametrize(
    "floor", [{}, {f"fp16 {IMAGE_PSNR}": 1.0}, {f"fp32_again {X0_SQNR}": math.nan}, {f"tf32 {X0_SQNR}": 1.0}]
)
def test_without_a_floor_nothing_changes(floor):
    gate = Gate(X0_SQNR, 80.0)
    for value in (79.0, 81.0, math.nan):
        before = result_from_values(gate, [value], ["a"])
        assert repr(hold_against_floor((before,), (gate,), floor, "fp16")[0]) == repr(before)


@pytest.mark.parametrize("gate", [Gate(X0_SQNR), Gate(X0_SQNR, None, 90.0)])
def test_a_gate_without_a_lower_limit_is_reachable(gate):
    assert _held(gate, 50.0, {f"fp32_again {X0_SQNR}": 10.0}).word in ("reported", "passed")


def test_nan_fails_whatever_the_floor():
    result = _held(Gate(X0_SQNR, 80.0), math.nan, {f"fp32_again {X0_SQNR}": 20.0})
    assert (result.passed, result.word) == (False, "failed")


def test_the_worst_row_is_the_floor():
    floor = {f"fp32_again {X0_SQNR}": 120.0, f"cpu_fp32 {X0_SQNR}": 95.0, f"fp16 {X0_SQNR}": 50.0}
    noise = noise_of(floor, X0_SQNR, ("fp32_again", "fp32_other_threads", "cpu_fp32"))
    assert noise is not None and (noise.row, noise.value) == ("cpu_fp32", 95.0)
    assert floor_texts(floor)[1] == ("fp32 on the CPU", "x0 SQNR 95.0 dB")
