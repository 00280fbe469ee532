"""Float ML Program -> palettized, with more bits for the layers whose rounding reaches the outputs."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from edgestep.quantize.bits import solve_bits
from edgestep.quantize.coreml_package import WEIGHTS, open_package, opset_of, save_package
from edgestep.quantize.coreml_sensitivity import SAMPLES, WIDTHS, Sensitivity, evenly, measure_sensitivity, tried
from edgestep.quantize.coreml_weight_only import with_palettes, without_declined
from edgestep.quantize.coreml_weights import Weight, parted, weights_of
from edgestep.quantize.evaluated import Evaluate, Evaluated, Feed, decibels, noise, required
from edgestep.quantize.floats import WEIGHTS_STAY_FLOAT, Quantized, StaysFloat

MEAN_BITS = 4.0


def quantize_coreml_mixed(
    source: Path,
    final: Path,
    feeds: Sequence[Feed],
    table: Sequence[StaysFloat] = WEIGHTS_STAY_FLOAT,
    *,
    evaluate: Evaluate | None = None,
    mean_bits: float = MEAN_BITS,
    kept: Path | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> Quantized:
    """Write the .mlpackage with 2, 4, 6 or 8 bits a weight to `final`; return which weights they are.

    `feeds` are what this graph was fed in real drawings. `mean_bits`: the budget, the bytes of that many bits for
    every weight; 4 takes no more than p4. `kept` is where the measured sensitivity is kept while it is measured.
    Uniform 4 bits are taken where, all together, they turn out to be better within the same budget.
    """
    model = open_package(source)
    weights = weights_of(model.get_spec(), source / WEIGHTS)
    layers = parted(weights, table)
    chosen = [weight for weight in weights if weight.name in set(layers.layers)]
    opset = opset_of(model.get_spec())
    with required(evaluate, "mixed")(source) as opened:
        sensitivity = measure_sensitivity(opened, chosen, feeds, opset, kept=kept, tell=tell)
        bits, figures = _best(opened, chosen, sensitivity, feeds, opset, mean_bits)
    made = with_palettes(model, bits)
    save_package(made, source, final)
    counts = ", ".join(f"{count} of {width} bits" for width, count in sorted(Counter(bits.values()).items()))
    return replace(without_declined(layers, made), how=f"{counts}; {figures}")


def _best(
    opened: Evaluated,
    weights: Sequence[Weight],
    sensitivity: Sequence[Sensitivity],
    feeds: Sequence[Feed],
    opset: int,
    mean_bits: float,
) -> tuple[dict[Weight, int], str]:
    """Return the bits of each weight, and in words what they give all together."""
    solved = solve_bits(sensitivity, budget_of(sensitivity, mean_bits))
    candidates: list[Mapping[Weight, int]] = [{weight: solved[weight.name].bits for weight in weights}]
    if mean_bits >= MEAN_BITS:
        candidates.append(dict.fromkeys(weights, int(MEAN_BITS)))
    noises = _noises(opened, weights, candidates, feeds, opset)
    best = min(range(len(candidates)), key=noises.__getitem__)
    figures = f"outputs {decibels(noises[best]):.1f} dB from float"
    if len(noises) > 1:
        figures += f", {decibels(noises[1]):.1f} dB with 4 bits everywhere"
    return dict(candidates[best]), figures


def budget_of(sensitivity: Sequence[Sensitivity], mean_bits: float) -> int:
    """Return the bytes of that many bits for every weight, tables included; between two widths in proportion."""
    sizes = [sum(layer.choices[i].bytes for layer in sensitivity) for i in range(len(WIDTHS))]
    return int(np.interp(mean_bits, WIDTHS, sizes))


def _noises(
    opened: Evaluated,
    weights: Sequence[Weight],
    candidates: Sequence[Mapping[Weight, int]],
    feeds: Sequence[Feed],
    opset: int,
) -> list[float]:
    """Return the noise of the outputs for each way to choose the bits of all weights."""
    feeds = evenly(feeds, SAMPLES)
    references = [opened.run(feed) for feed in feeds]
    noises = []
    for bits in candidates:
        for weight in weights:
            opened.replace(weight.name, tried(weight, bits[weight], opset))
        noises.append(sum(noise(r, opened.run(f)) for r, f in zip(references, feeds, strict=True)) / len(feeds))
    return noises
