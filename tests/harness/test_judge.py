"""The judge on synthetic cases: every mutant is rejected under every scheme that it breaks; worst case decides."""

import math
from dataclasses import replace

import numpy as np
import pytest

from edgestep.harness.parity.gates import (
    DECODER_PSNR,
    EMBEDDINGS_SQNR,
    FINITE,
    IMAGE_PSNR,
    IMAGE_SSIM,
    NOISE_SENSITIVITY,
    NOT_CONSTANT,
    PROMPT_SENSITIVITY,
    SHAPES,
    X0_SQNR,
    gates_for,
)
from edgestep.harness.parity.judge import judge, verdict_of
from edgestep.harness.reference.bundle import ReferenceCase
from edgestep.harness.results import GateResult
from edgestep.runtimes.drawing import Drawing

SCHEMES = ("fp32", "fp16", "w8", "w8a8", "w4")
SIZE = 24


def _sample(prompt: int, noise: int) -> np.ndarray:
    """A coloured wave per prompt, shifted by the noise: float32 [1, 3, H, W] within -1 .. 1."""
    y, x = np.mgrid[0:SIZE, 0:SIZE] / SIZE
    waves = [np.sin(2 * np.pi * ((prompt + 1) * x + c * y) + 1.3 * noise + c) for c in range(3)]
    return (0.8 * np.stack(waves)[None]).astype(np.float32)


def _picture(sample: np.ndarray) -> np.ndarray:
    return np.round(np.clip(sample / 2 + 0.5, 0, 1) * 255).astype(np.uint8).transpose(0, 2, 3, 1)


def _case(prompt: int, noise: int) -> ReferenceCase:
    sample = _sample(prompt, noise)
    return ReferenceCase(
        name=f"p{prompt}n{noise}",
        prompt=str(prompt),
        input_ids=np.full((1, 4), prompt, np.int64),
        noise=np.random.default_rng(noise).standard_normal((1, 4, 3, 3)).astype(np.float32),
        prompt_embeds=np.random.default_rng(100 + prompt).standard_normal((1, 4, 5)).astype(np.float32),
        x0=np.random.default_rng(10 * prompt + noise).standard_normal((1, 4, 3, 3)).astype(np.float32),
        image=(sample / 2 + 0.5).transpose(0, 2, 3, 1),
        picture=_picture(sample),
    )


CASES = [_case(prompt, noise) for prompt in range(4) for noise in range(2)]


def _faithful(case: ReferenceCase) -> Drawing:
    return Drawing(case.prompt_embeds, case.x0, case.image.transpose(0, 3, 1, 2) * 2 - 1, case.picture, case.picture)


def _judged(drawings, scheme="fp32", fused=False, k_e=14.6) -> dict[str, GateResult]:
    return {r.measure: r for r in judge(CASES, drawings, gates_for(scheme, k_e), fused=fused)}


def _changed(change, only=None):
    drawings = [_faithful(case) for case in CASES]
    return [change(d, i) if only is None or i == only else d for i, d in enumerate(drawings)]


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("fused", [False, True])
def test_a_faithful_artifact_passes(scheme, fused):
    results = _judged([_faithful(case) for case in CASES], scheme, fused)
    assert verdict_of(tuple(results.values())) == "passed"
    assert (X0_SQNR in results) is not fused
    assert list(results)[:3] == [SHAPES, FINITE, NOT_CONSTANT]


def _other_prompt(drawing, i):
    return _faithful(CASES[(i + 2) % 8])


def _other_noise(drawing, i):
    return _faithful(CASES[i ^ 1])


def _deaf_to_the_prompt(drawing, i):
    return _faithful(CASES[i % 2])


def _deaf_to_the_noise(drawing, i):
    return _faithful(CASES[i - i % 2])


def _shuffled_channels(drawing, i):
    return replace(drawing, image=np.ascontiguousarray(drawing.image[..., ::-1]))


def _dropped_latent_scale(drawing, i):
    return replace(drawing, image=_picture(drawing.sample * 0.18215))


def _other_constants(drawing, i):
    return replace(drawing, x0=drawing.x0 * 1.3, image=_picture(np.clip(drawing.sample * 1.3, -1, 1)))


def _constant_image(drawing, i):
    return replace(drawing, image=np.full_like(drawing.image, 128))


MUTANTS = {
    _other_prompt: IMAGE_PSNR,
    _other_noise: IMAGE_PSNR,
    _deaf_to_the_prompt: PROMPT_SENSITIVITY,
    _deaf_to_the_noise: NOISE_SENSITIVITY,
    _shuffled_channels: IMAGE_SSIM,
    _dropped_latent_scale: PROMPT_SENSITIVITY,
    _other_constants: NOISE_SENSITIVITY,
    _constant_image: NOT_CONSTANT,
}


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize(("mutant", "gate"), MUTANTS.items(), ids=[m.__name__ for m in MUTANTS])
def test_mutants_are_rejected_by_the_gate_that_is_for_them(mutant, gate, scheme, fused):
    results = _judged(_changed(mutant), scheme, fused)
    assert verdict_of(tuple(results.values())) == "failed"
    assert results[gate].passed is False


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("tensor", ["x0", "prompt_embeds", "sample"])
def test_one_nan_in_one_case_is_rejected(tensor, scheme):
    def poisoned(drawing, i):
        value = getattr(drawing, tensor).copy()
        value.flat[7] = np.nan
        return replace(drawing, **{tensor: value})

    results = _judged(_changed(poisoned, only=5), scheme)
    assert verdict_of(tuple(results.values())) == "failed"
    assert (results[FINITE].passed, results[FINITE].case) == (False, CASES[5].name)
    assert results[FINITE].reason == f"1 of {getattr(_faithful(CASES[5]), tensor).size} in {tensor}"
    if tensor == "x0":
        assert math.isnan(results[X0_SQNR].worst) and results[X0_SQNR].passed is False


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize(
    "change",
    [
        lambda d: replace(d, image=d.image[:, :-1]),
        lambda d: replace(d, image=d.image.astype(np.int64)),
        lambda d: replace(d, image=d.image.transpose(0, 3, 1, 2)),
        lambda d: replace(d, x0=d.x0[0]),
        lambda d: replace(d, x0=None),
        lambda d: replace(d, prompt_embeds=None),
    ],
)
def test_another_shape_or_type_is_rejected(change, scheme):
    results = _judged(_changed(lambda d, i: change(d), only=2), scheme)
    assert (results[SHAPES].passed, results[SHAPES].case) == (False, CASES[2].name)
    assert verdict_of(tuple(results.values())) == "failed"


def test_all_failures_are_reported_at_once():
    def broken(drawing, i):
        x0 = drawing.x0.copy()
        x0.flat[0] = np.inf
        return replace(drawing, x0=x0, image=np.zeros_like(drawing.image))

    failed = {name for name, result in _judged(_changed(broken)).items() if result.passed is False}
    assert {FINITE, NOT_CONSTANT, X0_SQNR, IMAGE_PSNR, IMAGE_SSIM, PROMPT_SENSITIVITY, NOISE_SENSITIVITY} <= failed


def test_the_worst_case_decides():
    def noisier(drawing, i):
        off = drawing.image.astype(int) + (np.indices(drawing.image.shape).sum(0) % 2 * 2 - 1) * i
        return replace(drawing, image=np.clip(off, 0, 255).astype(np.uint8))

    worst = _judged(_changed(noisier), "w8a8")[IMAGE_PSNR]
    assert (worst.case, worst.passed) == (CASES[7].name, True)
    assert worst.worst == pytest.approx(20 * math.log10(255 / 7), abs=0.05)
    assert _judged(_changed(noisier), "w8")[IMAGE_PSNR].passed is False


def test_each_failed_case_is_listed_with_its_figure_and_the_median_with_its_interval():
    def noisier(drawing, i):
        off = drawing.image.astype(int) + (np.indices(drawing.image.shape).sum(0) % 2 * 2 - 1) * i
        return replace(drawing, image=np.clip(off, 0, 255).astype(np.uint8))

    result = _judged(_changed(noisier), "w8")[IMAGE_PSNR]
    expected = {CASES[i].name: 20 * math.log10(255 / i) for i in range(1, 8)}
    failed = {name: figure for name, figure in expected.items() if figure < 35}
    assert {f.case: f.value for f in result.failures} == pytest.approx(failed, abs=0.05)
    middle = (expected[CASES[3].name] + expected[CASES[4].name]) / 2
    assert (result.count, result.median) == (8, pytest.approx(middle, abs=0.05))
    assert result.interval[0] < result.median < result.interval[1]


def test_the_decoder_alone_is_judged_by_what_it_makes_of_the_references_x0():
    def dimmed(drawing, i):
        return replace(drawing, decoded=(drawing.decoded * 0.5).astype(np.uint8))

    results = _judged(_changed(dimmed, only=3))
    failed = {name for name, result in results.items() if result.passed is False}
    assert failed == {DECODER_PSNR} and results[DECODER_PSNR].case == CASES[3].name
    missing = _judged(_changed(lambda d, i: replace(d, decoded=None), only=3))
    assert missing[SHAPES].passed is False and missing[DECODER_PSNR].passed is False


def test_the_text_encoder_alone_is_judged_in_decibels():
    def noisy(drawing, i):
        error = np.random.default_rng(i).standard_normal(drawing.prompt_embeds.shape) * 10 ** (-60 / 20)
        return replace(drawing, prompt_embeds=(drawing.prompt_embeds + error).astype(np.float32))

    fp32, fp16 = (_judged(_changed(noisy), scheme)[EMBEDDINGS_SQNR] for scheme in ("fp32", "fp16"))
    assert 55 < fp32.worst < 65 and (fp32.passed, fp16.passed) == (False, True)


@pytest.mark.parametrize(("k_e", "passed"), [(14.6, True), (1.0, False)])
def test_fp16_is_judged_by_how_much_the_formula_amplifies(k_e, passed):
    def noisy(drawing, i):
        rng = np.random.default_rng(i)
        error = rng.standard_normal(drawing.x0.shape) * np.sqrt(np.mean(drawing.x0**2)) * 10 ** (-45 / 20)
        return replace(drawing, x0=(drawing.x0 + error).astype(np.float32))

    result = _judged(_changed(noisy), "fp16", k_e=k_e)[X0_SQNR]
    assert 40 < result.worst < 50 and result.passed is passed


def test_a_sensitivity_without_a_pair_is_undecided():
    results = judge(CASES[:1], [_faithful(CASES[0])], gates_for("fp32", 1.0), fused=False)
    undecided = {r.measure: r.reason for r in results if r.passed is None}
    assert set(undecided) == {PROMPT_SENSITIVITY, NOISE_SENSITIVITY}
    assert all("3 or more cases" in reason for reason in undecided.values())
    assert verdict_of(results) == "undecided"


def test_pairs_that_are_alike_are_undecided_and_divide_by_nothing():
    cases = [replace(case, picture=CASES[i % 2].picture) for i, case in enumerate(CASES)]
    results = {r.measure: r for r in judge(cases, [_faithful(c) for c in cases], gates_for("fp32", 1.0), fused=False)}
    assert results[PROMPT_SENSITIVITY].passed is None
    assert results[PROMPT_SENSITIVITY].reason.startswith("12 of 12 pairs")
    assert results[NOISE_SENSITIVITY].passed is True


@pytest.mark.parametrize(
    ("passed", "verdict"),
    [((True, True), "passed"), ((True, None), "undecided"), ((None, False), "failed"), ((), "failed")],
)
def test_verdicts(passed, verdict):
    assert verdict_of(tuple(GateResult("m", 0.0, "", "", p) for p in passed)) == verdict
