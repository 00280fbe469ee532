"""Float ML Programs -> palettized, with more bits for the layers whose rounding reaches the outputs.

The budget is one for all graphs of an artifact: a bit goes where it takes most noise away, be that in the text encoder
or in the denoiser.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from edgestep.mlpackage.layout import WEIGHTS
from edgestep.quantize.bits import solve_bits
from edgestep.quantize.coreml.evaluated import Evaluate, Feed, decibels, noise, required
from edgestep.quantize.coreml.package import open_package, opset_of, read_spec, save_package
from edgestep.quantize.coreml.sensitivity import SAMPLES, WIDTHS, Sensitivity, evenly, measure_sensitivity, tried
from edgestep.quantize.coreml.weight_only import with_palettes, without_declined
from edgestep.quantize.coreml.weights import Weight, parted, weights_of
from edgestep.quantize.floats import WEIGHTS_STAY_FLOAT, Quantized, StaysFloat

MEAN_BITS = 4.0
UNIFORM = 4
"""What mixed bits are held against: as many for every weight."""


@dataclass(frozen=True)
class Plan:
    """For one graph: the bits of each weight by name, and in words how far its outputs are then from float's."""

    bits: Mapping[str, int]
    figures: str


def quantize_coreml_mixed(
    source: Path,
    final: Path,
    feeds: Sequence[Feed] = (),
    table: Sequence[StaysFloat] = WEIGHTS_STAY_FLOAT,
    *,
    plan: Plan,
) -> Quantized:
    """Write the .mlpackage with the bits of the plan to `final`; return which weights they are."""
    del feeds
    model = open_package(source)
    weights = weights_of(model.get_spec(), source / WEIGHTS)
    made = with_palettes(model, {weight: plan.bits[weight.name] for weight in weights if weight.name in plan.bits})
    save_package(made, source, final)
    counts = ", ".join(f"{count} of {bits} bits" for bits, count in sorted(Counter(plan.bits.values()).items()))
    return replace(without_declined(parted(weights, table), made), how=f"{counts}; {plan.figures}")


def plan_mixed(
    sources: Mapping[Path, Sequence[Feed]],
    table: Sequence[StaysFloat],
    *,
    evaluate: Evaluate | None,
    mean_bits: float = MEAN_BITS,
    kept: Path | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> dict[Path, Plan]:
    """Return a plan for each .mlpackage; `sources` maps it to what it was fed in real drawings.

    `mean_bits`: the budget, the bytes of that many bits for every weight; 4 takes no more than p4. `kept`: a folder in
    which measured sensitivity is kept. Each graph's noise is relative to its own outputs, and the sum of all is made
    small. 4 bits for all are taken where they turn out to be better, all together, within the same budget.
    """
    evaluate = required(evaluate, "mixed")
    graphs = [_measured(path, feeds, table, evaluate, kept, tell) for path, feeds in sources.items()]
    layers = [replace(layer, name=f"{i}/{layer.name}") for i, graph in enumerate(graphs) for layer in graph.sensitivity]
    solved = solve_bits(layers, budget_of(layers, mean_bits))
    mixed = [{weight: solved[f"{i}/{weight.name}"].bits for weight in g.weights} for i, g in enumerate(graphs)]
    noises = [_noise(graph, bits, evaluate) for graph, bits in zip(graphs, mixed, strict=True)]
    if mean_bits < UNIFORM:
        return {g.path: _plan(bits, found, None) for g, bits, found in zip(graphs, mixed, noises, strict=True)}
    uniform = [dict.fromkeys(graph.weights, UNIFORM) for graph in graphs]
    others = [_noise(graph, bits, evaluate) for graph, bits in zip(graphs, uniform, strict=True)]
    chosen, found = (mixed, noises) if sum(noises) <= sum(others) else (uniform, others)
    return {graph.path: _plan(*each) for graph, *each in zip(graphs, chosen, found, others, strict=True)}


def budget_of(layers: Sequence[Sensitivity], mean_bits: float) -> int:
    """Return the bytes of that many bits for every weight, tables included; between two widths in proportion."""
    sizes = [sum(layer.choices[i].bytes for layer in layers) for i in range(len(WIDTHS))]
    return int(np.interp(mean_bits, WIDTHS, sizes))


@dataclass(frozen=True, eq=False)
class _Graph:
    path: Path
    opset: int
    weights: Sequence[Weight]
    sensitivity: Sequence[Sensitivity]
    feeds: Sequence[Feed]


def _measured(
    path: Path,
    feeds: Sequence[Feed],
    table: Sequence[StaysFloat],
    evaluate: Evaluate,
    kept: Path | None,
    tell: Callable[[str], None],
) -> _Graph:
    spec = read_spec(path)
    weights = weights_of(spec, path / WEIGHTS)
    layers = set(parted(weights, table).layers)
    weights = [weight for weight in weights if weight.name in layers]
    file = kept / f"{path.stem}.json" if kept is not None else None
    tell(f"measuring the sensitivity of {len(weights)} layers of {path.stem}")
    with evaluate(path) as opened:
        found = measure_sensitivity(opened, weights, feeds, opset_of(spec), kept=file, tell=tell)
    return _Graph(path, opset_of(spec), weights, found, evenly(feeds, SAMPLES))


def _noise(graph: _Graph, bits: Mapping[Weight, int], evaluate: Evaluate) -> float:
    """Return the noise over signal of the outputs with these bits, all together."""
    with evaluate(graph.path) as opened:
        references = [opened.run(feed) for feed in graph.feeds]
        for weight in graph.weights:
            opened.replace(weight.name, tried(weight, bits[weight], graph.opset))
        pairs = zip(references, graph.feeds, strict=True)
        return sum(noise(reference, opened.run(feed)) for reference, feed in pairs) / len(graph.feeds)


def _plan(bits: Mapping[Weight, int], found: float, uniform: float | None) -> Plan:
    figures = f"outputs {decibels(found):.1f} dB from float"
    if uniform is not None:
        figures += f", {decibels(uniform):.1f} dB with {UNIFORM} bits everywhere"
    return Plan({weight.name: width for weight, width in bits.items()}, figures)
