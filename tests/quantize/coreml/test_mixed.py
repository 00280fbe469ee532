"""Mixed bits of a small ML Program: measured with the evaluator, in the budget, better than the same bits for all."""

import json
import re
from contextlib import contextmanager
from pathlib import Path

import coremltools as ct
import numpy as np
import pytest

from edgestep.artifact import BadInput
from edgestep.mlpackage.layout import WEIGHTS
from edgestep.quantize.coreml.evaluated import decibels, noise
from edgestep.quantize.coreml.mixed import plan_mixed, quantize_coreml_mixed
from edgestep.quantize.coreml.sensitivity import MEASURED, SAMPLES, evenly, measure_sensitivity
from edgestep.quantize.coreml.weight_only import quantize_coreml_weights
from edgestep.quantize.floats import WEIGHTS_STAY_FLOAT, Quantized
from edgestep.ship.coreml_evaluation import evaluate
from tests.quantize.coreml.models import FLOAT, LAYERS, NAMELESS, samples, save_small_unet, weights_in


@pytest.fixture(scope="module")
def parent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_small_unet(tmp_path_factory.mktemp("parent") / "Unet.mlpackage", ct.target.iOS18)


def mixed_bits(parent: Path, final: Path, evaluate=evaluate, **more) -> Quantized:
    """Plan and quantize one package by itself."""
    plan = plan_mixed({parent: samples()}, WEIGHTS_STAY_FLOAT, evaluate=evaluate, **more)[parent]
    return quantize_coreml_mixed(parent, final, plan=plan)


def noise_of(parent: Path, made: Path) -> float:
    with evaluate(parent) as one, evaluate(made) as other:
        return float(np.mean([noise(one.run(feed), other.run(feed)) for feed in evenly(samples(), SAMPLES)]))


def test_measures_what_each_layer_alone_does(parent: Path, tmp_path: Path):
    """Against a package in which that one layer was palettized by coremltools."""
    weights = [weight for name, weight in weights_in(parent).items() if name in LAYERS]
    with evaluate(parent) as opened:
        measured = measure_sensitivity(opened, weights, samples(), 9)
        after = opened.run(samples()[0])
    with evaluate(parent) as fresh:
        assert np.array_equal(after["out"], fresh.run(samples()[0])["out"])  # every weight was put back
    for weight, found in zip(weights, measured, strict=True):
        table = [*(row for name, row in _only(weight.name).items())]
        final = tmp_path / f"{weight.name}.mlpackage"
        quantize_coreml_weights(parent, final, table=table, scheme="p4")
        choice = next(choice for choice in found.choices if choice.bits == 4)
        assert noise_of(parent, final) == pytest.approx(choice.noise, rel=1e-3)
        assert sorted(c.noise for c in found.choices) == [c.noise for c in found.choices][::-1]


def _only(kept: str) -> dict:
    from edgestep.quantize.coreml.weights import module_of
    from edgestep.quantize.keep_fp32 import rows_from_names

    names = {module_of(name) for name in (*LAYERS, *FLOAT) if name != kept}
    return {name: rows_from_names([name])[0] for name in names}


def test_is_better_than_the_same_bits_for_all_in_as_many_bytes(parent: Path, tmp_path: Path):
    layers = mixed_bits(parent, tmp_path / "mixed.mlpackage")
    quantize_coreml_weights(parent, tmp_path / "p4.mlpackage", scheme="p4")
    mixed, uniform = (noise_of(parent, tmp_path / f"{name}.mlpackage") for name in ("mixed", "p4"))
    assert mixed <= uniform
    sizes = [(tmp_path / f"{name}.mlpackage" / WEIGHTS).stat().st_size for name in ("mixed", "p4")]
    assert sizes[0] <= sizes[1] + 64 * len(LAYERS)  # arrays begin at multiples of 64 bytes
    assert (
        f"outputs {decibels(mixed):.1f} dB from float, {decibels(uniform):.1f} dB with 4 bits everywhere" in layers.how
    )
    assert set(weights_in(tmp_path / "mixed.mlpackage")) == {*FLOAT, NAMELESS}


@pytest.mark.parametrize(("mean_bits", "widest", "less"), [(2.0, 2, "p8"), (8.0, 8, "p4")])
def test_the_budget_is_bits_a_weight(parent: Path, tmp_path: Path, mean_bits: float, widest: int, less: str):
    layers = mixed_bits(parent, tmp_path / "mixed.mlpackage", mean_bits=mean_bits)
    quantize_coreml_weights(parent, tmp_path / "uniform.mlpackage", scheme=less)
    chosen = {int(bits): int(count) for count, bits in re.findall(r"(\d+) of (\d+) bits", layers.how)}
    assert chosen == {widest: len(LAYERS)}
    mixed, uniform = (noise_of(parent, tmp_path / f"{name}.mlpackage") for name in ("mixed", "uniform"))
    assert (mixed < uniform) == (less == "p4")


def test_the_budget_is_one_for_all_graphs(parent: Path, tmp_path: Path):
    other = save_small_unet(tmp_path / "Other.mlpackage", ct.target.iOS18, signs=True)  # 2 bits are enough for it
    both = {parent: samples(), other: samples()}
    together = plan_mixed(both, WEIGHTS_STAY_FLOAT, evaluate=evaluate)
    alone = {path: plan_mixed({path: samples()}, WEIGHTS_STAY_FLOAT, evaluate=evaluate)[path] for path in both}
    assert set(together[other].bits.values()) == {2}

    def summed(plans: dict) -> tuple[float, int]:
        noises, size = 0.0, 0
        for i, path in enumerate(both):
            final = tmp_path / f"{i}-{len(list(tmp_path.iterdir()))}.mlpackage"
            quantize_coreml_mixed(path, final, plan=plans[path])
            noises, size = noises + noise_of(path, final), size + (final / WEIGHTS).stat().st_size
        return noises, size

    (noises, size), (others, their_size) = summed(together), summed(alone)
    assert noises < others / 2
    assert size <= their_size * 1.1  # of two budgets more is left over, and the plans alone need not spend theirs


class Counted:
    """An evaluator that counts its runs, and stops after some."""

    def __init__(self, most: int = 10_000) -> None:
        self.runs, self.most = 0, most

    @contextmanager
    def __call__(self, package: Path):
        with evaluate(package) as opened:
            run = opened.run

            def counted(feeds):
                self.runs += 1
                if self.runs > self.most:
                    raise KeyboardInterrupt
                return run(feeds)

            opened.run = counted
            yield opened


def test_a_run_that_was_stopped_goes_on(parent: Path, tmp_path: Path):
    each = SAMPLES * len(MEASURED)
    with pytest.raises(KeyboardInterrupt):
        mixed_bits(parent, tmp_path / "one.mlpackage", Counted(SAMPLES + each), kept=tmp_path)
    assert list(json.loads((tmp_path / "Unet.json").read_text())) == [LAYERS[0]]
    whole, rest = Counted(), Counted()
    mixed_bits(parent, tmp_path / "whole.mlpackage", whole)
    mixed_bits(parent, tmp_path / "rest.mlpackage", rest, kept=tmp_path)
    assert whole.runs - rest.runs == each
    assert (tmp_path / "whole.mlpackage" / WEIGHTS).read_bytes() == (tmp_path / "rest.mlpackage" / WEIGHTS).read_bytes()


def test_needs_an_evaluator(parent: Path, tmp_path: Path):
    with pytest.raises(BadInput, match="got no evaluator for mixed"):
        mixed_bits(parent, tmp_path / "mixed.mlpackage", None)


def test_noise_is_relative_and_nan_is_the_worst():
    reference = {"one": np.full(10, 2.0), "other": np.full(5, 1.0)}
    outputs = {"one": np.full(10, 2.2), "other": np.full(5, 1.0)}
    assert noise(reference, outputs) == pytest.approx(0.005)
    assert noise(reference, {**outputs, "other": np.full(5, np.nan)}) == np.inf
