"""The gates: scheme and k_e -> limits per measure, from one table.

A limit is never loosened so that an artifact passes. Comparisons are written so that NaN fails.
"""

import re
from dataclasses import dataclass

from edgestep.artifact import BadInput

PROMPT_IDS, SHAPES, FINITE, NOT_CONSTANT = "prompt_ids", "shapes", "finite", "not_constant"
X0_SQNR, X0_COSINE, EMBEDDINGS_COSINE = "x0_sqnr_db", "x0_cosine", "embeddings_cosine"
EMBEDDINGS_SQNR, DECODER_PSNR = "embeddings_sqnr_db", "decoder_psnr_db"
IMAGE_PSNR, IMAGE_SSIM = "image_psnr_db", "image_ssim"
PROMPT_SENSITIVITY, NOISE_SENSITIVITY = "prompt_sensitivity", "noise_sensitivity"

AMPLIFYING_K_E = 5.0
"""From here on an error in F is amplified enough that fp16 cannot keep 50 dB in x0."""


@dataclass(frozen=True)
class Gate:
    """A limit on one measure: low <= value <= high; None is no limit on that side, None on both only reports.

    `scheme_limit` is the scheme's own limit as text where this one was given by hand, else "".
    """

    measure: str
    low: float | None = None
    high: float | None = None
    scheme_limit: str = ""

    @property
    def reports_only(self) -> bool:
        """Whether any value will do."""
        return self.low is None and self.high is None

    @property
    def limit(self) -> str:
        """Return the limit as text: `>= 40`, `0.98 .. 1.02`, or `report`."""
        if self.reports_only:
            return "report"
        if self.low is None or self.high is None:
            return f"<= {self.high:g}" if self.low is None else f">= {self.low:g}"
        return f"{self.low:g} .. {self.high:g}"

    def passes(self, value: float) -> bool:
        """Return whether the value is within the limit. NaN never is, not even where the measure is only reported."""
        above = value >= (float("-inf") if self.low is None else self.low)
        below = value <= (float("inf") if self.high is None else self.high)
        return above and below


@dataclass(frozen=True)
class Limits:
    """One row of the table: dB of SQNR and PSNR, SSIM, and how far a sensitivity may be from 1; None only reports.

    `image_psnr` holds for the decoder alone too, fed with the reference's x0: a part may not be off by more than the
    whole.
    """

    embeddings_sqnr: float | None
    x0_sqnr: float | None
    image_psnr: float
    image_ssim: float
    spread: float


LIMITS: dict[str, Limits] = {
    "fp32": Limits(80.0, 80.0, 60.0, 0.999, 0.01),
    "fp16": Limits(40.0, 50.0, 40.0, 0.99, 0.02),
    "fp16, amplified": Limits(40.0, 40.0, 40.0, 0.99, 0.02),
    "w8": Limits(None, 30.0, 35.0, 0.98, 0.05),
    "w8 with activations": Limits(None, None, 28.0, 0.93, 0.10),
    "w4 to w6": Limits(None, None, 25.0, 0.90, 0.10),
}
"""The tolerances, all of them. `amplified`: |k_e| is `AMPLIFYING_K_E` or more."""


PALETTES: dict[str, str] = {"p8": "w8", **dict.fromkeys(("p6", "p4", "p2", "mixed"), "w4 to w6")}
"""Schemes whose weights are indices into tables of 2^n numbers, or of several widths -> the row of `LIMITS`."""


NAIVE = "naive_w8a8"
"""The control of every quantization: measured against the limits of w8a8, which it is not expected to keep to."""

NAMED: dict[str, str] = {**PALETTES, NAIVE: "w8 with activations"}
"""Schemes whose names do not say how many bits there are -> the row of `LIMITS`."""


def gates_for(scheme: str, k_e: float) -> tuple[Gate, ...]:
    """Return the gates of a scheme for a generator whose formula amplifies an error of F by `k_e`.

    Schemes: fp32, fp16; w8 and w8a32 (weights only); w8a8 and w8a16; w4 to w6, with or without activations; PALETTES.
    A letter or underscore between the parts (`w8c_a8`) does not matter, nor their order (`a16w8`). Raises
    BadInput for another scheme.
    """
    row = LIMITS[row_of(scheme, k_e)]
    low, high = round(1 - row.spread, 6), round(1 + row.spread, 6)
    return (
        Gate(EMBEDDINGS_SQNR, row.embeddings_sqnr),
        Gate(EMBEDDINGS_COSINE),
        Gate(X0_SQNR, row.x0_sqnr),
        Gate(X0_COSINE),
        Gate(DECODER_PSNR, row.image_psnr),
        Gate(IMAGE_PSNR, row.image_psnr),
        Gate(IMAGE_SSIM, row.image_ssim),
        Gate(PROMPT_SENSITIVITY, low, high),
        Gate(NOISE_SENSITIVITY, low, high),
    )


def row_of(scheme: str, k_e: float) -> str:
    """Return the row of `LIMITS` that judges a scheme; raise BadInput where there is none."""
    if scheme == "fp16":
        return "fp16, amplified" if abs(k_e) >= AMPLIFYING_K_E else "fp16"
    if scheme == "fp32":
        return scheme
    if scheme in NAMED:
        return NAMED[scheme]
    weights, activations = _bits(scheme)
    if 4 <= weights <= 6:
        return "w4 to w6"
    if weights == 8 and activations in (8, 16):
        return "w8 with activations"
    if weights == 8 and activations == 32:
        return "w8"
    raise _unknown(scheme)


def _bits(scheme: str) -> tuple[int, int]:
    match = re.fullmatch(r"w(\d+)[b-z]*?\d*_?(?:a(\d+)[a-z_]*)?", scheme) or re.fullmatch(
        r"a(?P<a>\d+)_?w(\d+)", scheme
    )
    if match is None:
        raise _unknown(scheme)
    if "a" in match.groupdict():
        return int(match[2]), int(match["a"])
    return int(match[1]), int(match[2] or 32)


def _unknown(scheme: str) -> BadInput:
    known = f"fp32, fp16, w8, w8a8, w8a16, w4 to w6 or {', '.join(PALETTES)}"
    return BadInput(f"got scheme {scheme!r}; expected {known}; add its row to gates.py")
