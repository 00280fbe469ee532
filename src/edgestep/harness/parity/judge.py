"""Reference cases and what an artifact drew for them -> one GateResult per gate, the worst case of each.

Order: shapes, finiteness, constancy, then the measures. A failure never hides a later one: all are returned.
"""

import math
from collections.abc import Callable, Sequence
from itertools import combinations

import numpy as np

from edgestep.harness.parity.gates import (
    DECODER_PSNR,
    EMBEDDINGS_COSINE,
    EMBEDDINGS_SQNR,
    FINITE,
    IMAGE_PSNR,
    IMAGE_SSIM,
    NOISE_SENSITIVITY,
    NOT_CONSTANT,
    PROMPT_SENSITIVITY,
    SHAPES,
    X0_COSINE,
    X0_SQNR,
    Gate,
)
from edgestep.harness.parity.measures import (
    cosine,
    psnr_db,
    rms_difference,
    sensitivity,
    sqnr_db,
    ssim,
    unit_from_picture,
)
from edgestep.harness.parity.worst import result_from_values
from edgestep.harness.reference.bundle import ReferenceCase
from edgestep.harness.results import FAILED, PASSED, UNDECIDED, CaseFigure, GateResult
from edgestep.runtimes.drawing import Drawing

ONE_LEVEL = 1 / 255
"""A pair of reference pictures closer than this (RMS) cannot tell sensitivity from rounding."""

Tensors = dict[str, tuple[np.ndarray, np.ndarray]]
"""Tensor name -> (reference, output) of one case."""

FUSED_ABSENT = (EMBEDDINGS_SQNR, EMBEDDINGS_COSINE, X0_SQNR, X0_COSINE, DECODER_PSNR)
"""What a fused graph does not show: it takes ids and noise, and gives a picture."""

PICTURE_GATES = (DECODER_PSNR, IMAGE_PSNR, IMAGE_SSIM, PROMPT_SENSITIVITY, NOISE_SENSITIVITY)
"""What is measured on pictures, and so depends on the decoder."""


def _psnr_of_pictures(reference: np.ndarray, output: np.ndarray) -> float:
    return psnr_db(unit_from_picture(reference), unit_from_picture(output))


MEASURES: dict[str, tuple[str, Callable[[np.ndarray, np.ndarray], float]]] = {
    EMBEDDINGS_SQNR: ("prompt_embeds", sqnr_db),
    EMBEDDINGS_COSINE: ("prompt_embeds", cosine),
    X0_SQNR: ("x0", sqnr_db),
    X0_COSINE: ("x0", cosine),
    DECODER_PSNR: ("decoded", _psnr_of_pictures),
    IMAGE_PSNR: ("picture", _psnr_of_pictures),
    IMAGE_SSIM: ("picture", lambda ref, out: ssim(unit_from_picture(ref[0]), unit_from_picture(out[0]))),
}
"""Measure -> (tensor, function of reference and output). Pictures are uint8 on both sides, rounded the same way.

`decoded` is the decoder alone: the picture that it makes of the reference's x0.
"""


def judge(
    cases: Sequence[ReferenceCase], drawings: Sequence[Drawing], gates: Sequence[Gate], *, fused: bool
) -> tuple[GateResult, ...]:
    """Return every gate's result; a fused artifact has none on x0 and embeddings (`FUSED_ABSENT`)."""
    tensors = [_tensors(case, drawing, fused) for case, drawing in zip(cases, drawings, strict=True)]
    names = [case.name for case in cases]
    fits = [ref.shape == out.shape and ref.dtype == out.dtype for ref, out in (one["picture"] for one in tensors)]
    results = [
        _structural(SHAPES, names, [_wrong_shapes(one) for one in tensors]),
        _structural(FINITE, names, [_not_finite(one, d) for one, d in zip(tensors, drawings, strict=True)]),
        _structural(NOT_CONSTANT, names, [_constant(one) for one in tensors]),
    ]
    for gate in gates:
        if fused and gate.measure in FUSED_ABSENT:
            continue
        if gate.measure in MEASURES:
            results.append(_measured(gate, names, tensors))
        else:
            results.append(_sensitive(gate, cases, tensors, fits))
    return tuple(results)


def without_picture_limits(gates: Sequence[Gate]) -> tuple[Gate, ...]:
    """Return the gates with those on pictures only reported: for another decoder than the reference's."""
    return tuple(Gate(gate.measure) if gate.measure in PICTURE_GATES else gate for gate in gates)


def verdict_of(results: Sequence[GateResult]) -> str:
    """Return failed where any gate failed, else undecided where any could not decide, else passed."""
    if not results or any(result.passed is False for result in results):
        return FAILED
    return UNDECIDED if any(result.passed is None for result in results) else PASSED


def _tensors(case: ReferenceCase, drawing: Drawing, fused: bool) -> Tensors:
    nothing = np.zeros(0, np.float32)
    found = {"picture": (case.picture, drawing.image)}
    if not fused:
        found["x0"] = (case.x0, nothing if drawing.x0 is None else drawing.x0)
        found["prompt_embeds"] = (
            case.prompt_embeds,
            nothing if drawing.prompt_embeds is None else drawing.prompt_embeds,
        )
        found["decoded"] = (case.picture, nothing if drawing.decoded is None else drawing.decoded)
    return found


def _wrong_shapes(tensors: Tensors) -> list[str]:
    return [
        f"{name} {out.dtype} {list(out.shape)} for {ref.dtype} {list(ref.shape)}"
        for name, (ref, out) in tensors.items()
        if ref.shape != out.shape or ref.dtype != out.dtype
    ]


def _not_finite(tensors: Tensors, drawing: Drawing) -> list[str]:
    # The decoder's sample too: rounding to uint8 would turn its NaN into an ordinary pixel.
    floats = {name: out for name, (_, out) in tensors.items() if out.dtype.kind == "f"}
    if drawing.sample is not None:
        floats["sample"] = drawing.sample
    return [
        f"{np.count_nonzero(~np.isfinite(out))} of {out.size} in {name}"
        for name, out in floats.items()
        if not np.isfinite(out).all()
    ]


def _constant(tensors: Tensors) -> list[str]:
    return [
        f"{name} is {out.flat[0]} everywhere"
        for name, (ref, out) in tensors.items()
        if out.size and np.all(out == out.flat[0]) and not np.all(ref == ref.flat[0])
    ]


def _structural(measure: str, names: Sequence[str], wrong: Sequence[list[str]]) -> GateResult:
    """`worst` is the number of cases in which anything is wrong, each with how many things are in `failures`."""
    bad = [(name, found) for name, found in zip(names, wrong, strict=True) if found]
    if not bad:
        return GateResult(measure, 0.0, "0 cases", "", True)
    failures = tuple(CaseFigure(name, float(len(found))) for name, found in bad)
    return GateResult(measure, float(len(bad)), "0 cases", bad[0][0], False, "; ".join(bad[0][1]), failures=failures)


def _measured(gate: Gate, names: Sequence[str], tensors: Sequence[Tensors]) -> GateResult:
    tensor, function = MEASURES[gate.measure]
    values = []
    for one in tensors:
        reference, output = one[tensor]
        with np.errstate(invalid="ignore", over="ignore"):
            values.append(function(reference, output) if reference.shape == output.shape else math.nan)
    return result_from_values(gate, values, names)


def _sensitive(
    gate: Gate, cases: Sequence[ReferenceCase], tensors: Sequence[Tensors], fits: Sequence[bool]
) -> GateResult:
    """Compare pairs of pictures that differ in the prompt alone, or in the noise alone."""
    values, names, alike = [], [], 0
    for i, j in combinations(range(len(cases)), 2):
        if not _is_pair(gate.measure, cases[i], cases[j]):
            continue
        (ref_i, out_i), (ref_j, out_j) = tensors[i]["picture"], tensors[j]["picture"]
        if rms_difference(unit_from_picture(ref_i), unit_from_picture(ref_j)) < ONE_LEVEL:
            alike += 1
            continue
        pictures = [unit_from_picture(picture) for picture in (ref_i, ref_j, out_i, out_j)]
        values.append(sensitivity(*pictures) if fits[i] and fits[j] else math.nan)
        names.append(f"{cases[i].name}/{cases[j].name}")
    pairs = f"{alike} of {alike + len(values)} pairs of reference pictures too alike to compare" if alike else ""
    if not values:
        reason = pairs or "no pair of cases that differs in it alone; record 3 or more cases"
        return GateResult(gate.measure, math.nan, gate.limit, "", None, reason, scheme_limit=gate.scheme_limit)
    return result_from_values(gate, values, names, pairs)


def _is_pair(measure: str, first: ReferenceCase, second: ReferenceCase) -> bool:
    same_noise = np.array_equal(first.noise, second.noise)
    same_prompt = np.array_equal(first.input_ids, second.input_ids)
    if measure == PROMPT_SENSITIVITY:
        return same_noise and not same_prompt
    if measure == NOISE_SENSITIVITY:
        return same_prompt and not same_noise
    raise ValueError(f"got the measure {measure!r}; expected one that judge.py knows")
