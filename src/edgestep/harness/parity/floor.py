"""Gate and measured floor -> unreachable, where the limit is stricter than twice the noise of PyTorch itself.

Twice the noise: in dB the floor - 6.02; for a cosine or SSIM 1 - 2 (1 - floor); for a sensitivity within 2 |1 - floor|
of 1. Two floors count, each measure by its worst row:

- The reference's own: fp32 drawn again, on another number of threads, on the CPU. What is compared with it is not
  known better than that, so a stricter gate never passes: the result is unreachable, or failed where the artifact is
  further off than twice the noise, which is no chance.
- The precision's, for an fp16 artifact: what PyTorch loses in fp16. The reference is exact, so a gate that is met is
  met. One that is missed by no more than twice the loss of PyTorch's fp16 is unreachable in fp16; by more, failed.

A bundle that recorded no floor for a measure changes nothing. TF32 and bf16 rows are recorded to be read, no artifact
is held against them.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from edgestep.harness.figures import limit_text, measure_name, measure_text
from edgestep.harness.parity.gates import NOISE_SENSITIVITY, PROMPT_SENSITIVITY, Gate
from edgestep.harness.results import GateResult

FP32_AGAIN, FP32_OTHER_THREADS, CPU_FP32 = "fp32_again", "fp32_other_threads", "cpu_fp32"
TF32, FP16, BF16 = "tf32", "fp16", "bf16"
OWN = (FP32_AGAIN, FP32_OTHER_THREADS, CPU_FP32)
"""The rows that are the reference's own noise."""

TWICE_DB = 20 * math.log10(2)
ROWS = {
    FP32_AGAIN: "fp32 drawn again",
    FP32_OTHER_THREADS: "fp32 on another number of threads",
    CPU_FP32: "fp32 on the CPU",
    TF32: "TF32",
    FP16: "fp16",
    BF16: "bf16",
}
"""Row of the floor -> its words."""


@dataclass(frozen=True)
class Noise:
    """The floor of one measure: its value in the worst row, and that row."""

    measure: str
    value: float
    row: str

    @property
    def twice(self) -> float:
        """The value at twice the noise; for a sensitivity, how far from 1."""
        if self.measure.endswith("_db"):
            return self.value - TWICE_DB
        return 2 * abs(1 - self.value) if _is_ratio(self.measure) else 1 - 2 * (1 - self.value)

    def is_finer(self, gate: Gate) -> bool:
        """Whether the gate's limit is stricter than twice the noise."""
        if _is_ratio(self.measure):
            bounds = [abs(bound - 1) for bound in (gate.low, gate.high) if bound is not None]
            return bool(bounds) and min(bounds) < self.twice
        return gate.low is not None and gate.low > self.twice

    def within(self, value: float) -> bool:
        """Whether a value is no further off than twice the noise. NaN never is."""
        return abs(value - 1) <= self.twice if _is_ratio(self.measure) else value >= self.twice


def noise_of(floor: Mapping[str, float], measure: str, rows: Sequence[str]) -> Noise | None:
    """Return the worst of those rows on that measure, None where none was recorded."""
    found = {row: floor[f"{row} {measure}"] for row in rows if math.isfinite(floor.get(f"{row} {measure}", math.nan))}
    if not found:
        return None
    row = max(found, key=lambda r: abs(found[r] - 1) if _is_ratio(measure) else -found[r])
    return Noise(measure, found[row], row)


def hold_against_floor(
    results: Sequence[GateResult], gates: Sequence[Gate], floor: Mapping[str, float], scheme: str
) -> tuple[GateResult, ...]:
    """Return the results with those of unreachable gates marked, as the module's docstring says."""
    by_measure = {gate.measure: gate for gate in gates}
    return tuple(
        _held(result, by_measure[result.measure], floor, scheme) if result.measure in by_measure else result
        for result in results
    )


def floor_texts(floor: Mapping[str, float]) -> list[tuple[str, str]]:
    """Return (row in words, its figures as text) for people: ("TF32", "x0 SQNR 71.2 dB, image PSNR 60.1 dB")."""
    rows: dict[str, list[str]] = {}
    for key, value in floor.items():
        row, _, measure = key.rpartition(" ")
        rows.setdefault(ROWS.get(row, row), []).append(f"{measure_name(measure)} {measure_text(measure, value)}")
    return [(row or "PyTorch", ", ".join(figures)) for row, figures in rows.items()]


def _held(result: GateResult, gate: Gate, floor: Mapping[str, float], scheme: str) -> GateResult:
    own = noise_of(floor, gate.measure, OWN)
    if own is not None and own.is_finer(gate):
        return _unreachable(result, own, "PyTorch is that far from itself")
    precision = noise_of(floor, gate.measure, (FP16,)) if scheme == "fp16" else None
    if precision is not None and precision.is_finer(gate) and not result.passed and precision.within(result.worst):
        return _unreachable(result, precision, "PyTorch loses as much")
    return result


def _unreachable(result: GateResult, noise: Noise, why: str) -> GateResult:
    if result.worst != result.worst or result.count == 0:  # nothing was measured: that stands as it is
        return result
    figure = measure_text(result.measure, noise.value)
    said = f"{limit_text(result.limit)} is unreachable: {figure} is the floor ({ROWS[noise.row]}), {why}"
    reason = f"{said}; {result.reason}".rstrip("; ")
    if not noise.within(result.worst):
        return replace(result, passed=False, unreachable=True, reason=f"{reason}; this is more than twice off")
    return replace(result, passed=None, unreachable=True, failures=(), reason=reason)


def _is_ratio(measure: str) -> bool:
    return measure in (PROMPT_SENSITIVITY, NOISE_SENSITIVITY)
