"""Measured sensitivities -> for each layer its widths, with bytes and noise: what the solver chooses from.

Two widths are measured. The noise of another follows from the nearer of them: noise of that size grows with the squared
error of the weights themselves, which for normal weights depends on the width and its block alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from edgestep.quantize.coreml.sensitivity import Choice, Sensitivity
from edgestep.quantize.rounding import rounded
from edgestep.quantize.widths import WIDTHS, block_of, bytes_of
from edgestep.search.trials import Change, Figures, Trial
from edgestep.search.writers import Layer

CANDIDATES = ("w3-64", "w4-32", "w5-64", "w6-64", "w8", "fp32")
"""What mixed chooses among, one for each number of bits, the narrowest first."""
ABSENT = {"openvino": ("w5-64",)}
"""Format -> the widths that it has no type of."""
MEASURED = ("w3-64", "w4-32")
ROWS = 32
"""Normal weights that the squared error of a width is taken of: so many outputs."""


@dataclass(frozen=True)
class Sited:
    """A layer and the component that it is of; `name` is its name in an assignment: `unet/unet.conv_in/Conv`."""

    component: str
    layer: Layer

    @property
    def name(self) -> str:
        """Return component/layer."""
        return f"{self.component}/{self.layer.name}"


Assignment = Mapping[str, str]
"""`Sited.name` -> width, of every layer."""


def layer_trials(layers: Sequence[Sited]) -> list[Trial]:
    """Return the trials of one layer that `choices_from` needs, in its order."""
    return [Trial((Change(each.component, each.layer.name, width),)) for each in layers for width in MEASURED]


def candidates_of(form: str) -> tuple[str, ...]:
    """Return what mixed chooses among in a format, the narrowest first."""
    return tuple(width for width in CANDIDATES if width not in ABSENT.get(form, ()))


def choices_from(
    layers: Sequence[Sited], figures: Sequence[Figures], candidates: Sequence[str] = CANDIDATES
) -> tuple[Sensitivity, ...]:
    """Return every layer's choices, the narrowest first; `figures` are those of `layer_trials`."""
    found = [f.image_noise for f in figures]
    return tuple(
        Sensitivity(
            each.name, _choices(each.layer, dict(zip(MEASURED, found[2 * i : 2 * i + 2], strict=True)), candidates)
        )
        for i, each in enumerate(layers)
    )


def _choices(layer: Layer, measured: Mapping[str, float], candidates: Sequence[str]) -> tuple[Choice, ...]:
    widest = MEASURED[-1]
    noises = dict(measured)
    for name in candidates:
        if name not in noises:
            ratio = _squared_error(layer, name) / _squared_error(layer, widest)
            noises[name] = measured[widest] * ratio
    return tuple(
        Choice(WIDTHS[name].bits, bytes_of(layer.shape, WIDTHS[name], layer.axis), noises[name]) for name in candidates
    )


def _squared_error(layer: Layer, width: str) -> float:
    if WIDTHS[width].is_float:
        return 0.0
    return _error_of_normal(WIDTHS[width].bits, block_of(layer.shape, WIDTHS[width], layer.axis))


@lru_cache
def _error_of_normal(bits: int, block: int) -> float:
    """Return the mean squared error of standard normal weights with that many bits, a scale for each `block`."""
    weights = np.random.default_rng(0).standard_normal((ROWS, block)).astype(np.float32)
    return float(np.mean((rounded(weights, bits, block).values - weights) ** 2))


def assignment_from(chosen: Mapping[str, Choice]) -> dict[str, str]:
    """Return the width of each layer from the solver's choices."""
    return {layer: width_of(choice) for layer, choice in chosen.items()}


def width_of(choice: Choice) -> str:
    """Return the name of a choice's width: each number of bits has one."""
    return next(name for name in CANDIDATES if WIDTHS[name].bits == choice.bits)


def uniform(layers: Sequence[Sited], width: str) -> dict[str, str]:
    """Return the assignment of one width to all."""
    return {each.name: width for each in layers}


def trial_from(layers: Sequence[Sited], assignment: Assignment) -> Trial:
    """Return the trial of a whole assignment; layers that stay float are not changed."""
    return Trial(
        tuple(
            Change(each.component, each.layer.name, assignment[each.name])
            for each in layers
            if not WIDTHS[assignment[each.name]].is_float
        )
    )


def predicted_bytes(table: Sequence[Sensitivity], assignment: Assignment) -> int:
    """Return the bytes of the layers' numbers and scales."""
    return sum(choice_of(layer, assignment[layer.name]).bytes for layer in table)


def choice_of(layer: Sensitivity, width: str) -> Choice:
    """Return a layer's choice of that width."""
    return next(choice for choice in layer.choices if choice.bits == WIDTHS[width].bits)
