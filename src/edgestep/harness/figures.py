"""Numbers -> the text that a person reads: 0.01234 s -> `12.3 ms`, 18_400_000 bytes -> `18.4 MB`, 41.23 -> `41.2 dB`.

A figure that could not be taken is a dash, never a zero. A worst value is never rounded onto its gate's limit: it
gets as many digits as it needs to stand on the side where it is.
"""

import math
import re

from edgestep.harness.parity.gates import (
    DECODER_PSNR,
    EMBEDDINGS_COSINE,
    EMBEDDINGS_SQNR,
    FINITE,
    IMAGE_PSNR,
    IMAGE_SSIM,
    NOT_CONSTANT,
    PROMPT_IDS,
    SHAPES,
    X0_COSINE,
    X0_SQNR,
)
from edgestep.harness.parity.measures import MAX_DECIBELS
from edgestep.harness.results import GateResult

MEASURE_NAMES = {
    X0_SQNR: "x0 SQNR",
    X0_COSINE: "x0 cosine",
    EMBEDDINGS_SQNR: "embeddings SQNR",
    EMBEDDINGS_COSINE: "embeddings cosine",
    DECODER_PSNR: "decoder PSNR",
    IMAGE_PSNR: "image PSNR",
    IMAGE_SSIM: "image SSIM",
    PROMPT_IDS: "other prompt ids",
    SHAPES: "wrong shapes",
    FINITE: "not finite",
    NOT_CONSTANT: "constant",
}
"""Measure -> what people call it; a structural one is called by what went wrong, since its figure counts cases."""

MISSING = "\N{EN DASH}"
TIMES, TO, MINUS = "\N{MULTIPLICATION SIGN}", "\N{EN DASH}", "\N{MINUS SIGN}"


def significant(value: float, digits: int = 3) -> str:
    """Return `value` with that many significant digits and no exponent: 1234.5 -> "1230", 0.01234 -> "0.0123"."""
    if value == 0:
        return "0"
    rounded = float(f"{value:.{digits}g}")
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(rounded))))
    return f"{rounded:.{decimals}f}"


def time_text(seconds: float | None) -> str:
    """Return a duration in ms below one second, in s above: `12.3 ms`, `1.23 s`; a dash where there is none."""
    if seconds is None or math.isnan(seconds):
        return MISSING
    if math.isinf(seconds):
        return "∞"
    milliseconds = float(f"{seconds * 1e3:.3g}")
    return f"{significant(milliseconds)} ms" if milliseconds < 1000 else f"{significant(seconds)} s"


def size_text(count: int | None) -> str:
    """Return a number of bytes in decimal units: `18.4 MB`, `1.72 GB`; a dash where it is unknown (None or 0)."""
    if not count or count < 0:
        return MISSING
    for unit, factor in (("kB", 1e3), ("MB", 1e6)):
        if float(f"{count / factor:.3g}") < 1000:
            return f"{significant(count / factor)} {unit}"
    return f"{significant(count / 1e9)} GB"


def ratio_text(ratio: float | None) -> str:
    """Return how many times faster: `92.1×`; from a hundred on without decimals: `184×`."""
    if ratio is None or not math.isfinite(ratio):
        return MISSING
    return f"{significant(ratio)}{TIMES}"


def interval_text(interval: tuple[float, float] | None) -> str:
    """Return `88.0–96.2×`; "" where an end is not finite."""
    if interval is None or not all(math.isfinite(end) for end in interval):
        return ""
    return f"{significant(interval[0])}{TO}{significant(interval[1])}{TIMES}"


def limit_text(limit: str) -> str:
    """Return a limit for people: ">= 40" -> "≥ 40", "0.98 .. 1.02" -> "0.98–1.02", "report" -> "reported only"."""
    if limit == "report":
        return "reported only"
    return re.sub(r"\s*\.\.\s*", TO, limit.replace(">=", "≥").replace("<=", "≤"))


def bounds_of(limit: str) -> tuple[float, ...]:
    """Return the numbers in a gate's limit: ">= 40" -> (40.0,), "0.98 .. 1.02" -> (0.98, 1.02), "report" -> ()."""
    return tuple(float(number) for number in re.findall(r"-?\d+(?:\.\d+)?", limit))


def measure_name(measure: str) -> str:
    """Return a name for people: "image_psnr_db" -> "image PSNR", "noise_sensitivity" -> "noise sensitivity"."""
    return MEASURE_NAMES.get(measure, measure.removesuffix("_db").replace("_", " "))


def measure_text(measure: str, value: float | None, limit: str = "") -> str:
    """Return a measure with its unit, on the side of `limit` where it is: (ssim, 0.98996, ">= 0.99") -> "0.98996"."""
    if value is None or math.isnan(value):
        return "NaN" if value is not None else MISSING
    if measure in (PROMPT_IDS, SHAPES, FINITE, NOT_CONSTANT):
        return f"{value:.0f} case{'s' * (value != 1)}"
    unit = " dB" if measure.endswith("_db") else ""
    if unit and value >= MAX_DECIBELS:
        return "equal"
    if math.isinf(value):
        return ("∞" if value > 0 else f"{MINUS}∞") + unit
    # One is perfect agreement of a cosine or an SSIM: nothing is rounded onto it either.
    bounds = bounds_of(limit) if unit else (*bounds_of(limit), 1.0)
    text = ""
    first = 1 if unit else 4
    for decimals in range(first, first + 7):
        text = f"{value:.{decimals}f}"
        if all(_side(float(text), bound) == _side(value, bound) for bound in bounds):
            break
    return text.replace("-", MINUS) + unit


def median_text(gate: GateResult) -> str:
    """Return a gate's median over its cases with its 95 % interval: `median 61.2 dB (60.8 to 61.5 dB) of 8`."""
    if math.isnan(gate.median):
        return f"no median of {gate.count}"
    middle, low, high = (_rounded(gate.measure, value) for value in (gate.median, *gate.interval))
    same = middle == low == high
    interval = "" if same else f" ({low.removesuffix(' dB') if high.endswith(' dB') else low} to {high})"
    return f"median {middle}{interval} of {gate.count}"


def _rounded(measure: str, value: float) -> str:
    if not measure.endswith("_db"):
        return f"{value:.4f}".replace("-", MINUS)
    return "equal" if value >= MAX_DECIBELS else f"{value:.1f} dB".replace("-", MINUS)


def _side(value: float, bound: float) -> int:
    return (value > bound) - (value < bound)
