"""Each weight palettized alone, the rest float -> how much noise that puts into the outputs.

2 and 4 bits are measured. 6 and 8 follow from 4: noise of that size grows with the squared error of the weight itself.
On the bundled generator bits chosen so are within 0.3 dB of bits chosen with all four measured, at half the runs.
"""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgestep.quantize.coreml.evaluated import Evaluated, Feed, noise
from edgestep.quantize.coreml.palette import palette_bytes, palettized
from edgestep.quantize.coreml.weight_only import group_of, output_axis
from edgestep.quantize.coreml.weights import Weight

WIDTHS = (2, 4, 6, 8)
MEASURED = (2, 4)
SAMPLES = 3
"""Drawings that each weight is tried on, evenly taken from the calibration's."""


@dataclass(frozen=True)
class Choice:
    """One width of one weight: its bytes, and the noise over signal that it alone puts into the outputs."""

    bits: int
    bytes: int
    noise: float


@dataclass(frozen=True)
class Sensitivity:
    """One weight and its choices, the fewest bits first."""

    name: str
    choices: tuple[Choice, ...]


def measure_sensitivity(
    opened: Evaluated,
    weights: Sequence[Weight],
    feeds: Sequence[Feed],
    opset: int,
    *,
    kept: Path | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> tuple[Sensitivity, ...]:
    """Return the choices of each weight, measured on some of the feeds.

    `kept`: a JSON file that every finished weight is written to, so that a run that was stopped goes on from there; its
    name is to say what was measured.
    """
    feeds = evenly(feeds, SAMPLES)
    references = [opened.run(feed) for feed in feeds]
    done = _read(kept)
    for number, weight in enumerate(weights, 1):
        if weight.name not in done:
            done[weight.name] = [_noise(opened, weight, bits, opset, feeds, references) for bits in MEASURED]
            opened.replace(weight.name, weight.values)
            _write(kept, done)
        if number % 20 == 0:
            tell(f"sensitivity of {number} of {len(weights)} layers measured")
    return tuple(_sensitivity(weight, done[weight.name], opset) for weight in weights)


def evenly(feeds: Sequence[Feed], count: int) -> list[Feed]:
    """Return `count` of the feeds, or all, evenly taken."""
    return [feeds[i * len(feeds) // count] for i in range(count)] if len(feeds) > count else list(feeds)


def tried(weight: Weight, bits: int, opset: int) -> np.ndarray:
    """Return the weight as `bits` would leave it, float32."""
    return palettized(weight.values, bits, axis=output_axis(weight), group=group_of(weight, bits, opset))


def _noise(
    opened: Evaluated, weight: Weight, bits: int, opset: int, feeds: Sequence[Feed], references: Sequence[Feed]
) -> float:
    opened.replace(weight.name, tried(weight, bits, opset))
    return sum(noise(ref, opened.run(feed)) for ref, feed in zip(references, feeds, strict=True)) / len(feeds)


def _sensitivity(weight: Weight, measured: Sequence[float], opset: int) -> Sensitivity:
    def size(bits: int) -> int:
        return palette_bytes(weight.values, bits, axis=output_axis(weight), group=group_of(weight, bits, opset))

    noises = dict(zip(MEASURED, measured, strict=True))
    widest = MEASURED[-1]
    slope = noises[widest] / max(_squared_error(weight, widest, opset), 1e-30)
    noises |= {bits: slope * _squared_error(weight, bits, opset) for bits in WIDTHS if bits > widest}
    return Sensitivity(weight.name, tuple(Choice(bits, size(bits), noises[bits]) for bits in WIDTHS))


def _squared_error(weight: Weight, bits: int, opset: int) -> float:
    return float(np.sum((tried(weight, bits, opset) - weight.values.astype(np.float64)) ** 2))


def _read(kept: Path | None) -> dict[str, list[float]]:
    try:
        return json.loads(kept.read_text()) if kept is not None else {}
    except (OSError, ValueError):
        return {}


def _write(kept: Path | None, done: Mapping[str, list[float]]) -> None:
    if kept is not None:
        aside = kept.with_suffix(".partial")
        aside.write_text(json.dumps(done))
        os.replace(aside, kept)
