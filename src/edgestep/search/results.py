"""What sensitivity and search found, as frozen dataclasses: what their JSON files hold."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from edgestep.harness.machine import Machine
from edgestep.harness.results import Schema
from edgestep.search.trials import Figures

SENSITIVITY_SCHEMA, SENSITIVITY_VERSION = "edgestep.sensitivity", 1
MIXED_SCHEMA, MIXED_VERSION = "edgestep.mixed", 1


@dataclass(frozen=True)
class LayerSensitivity:
    """One layer quantized alone to `width`, and what that did to the pictures.

    `stays_float` is why the scheme of that width leaves it float all the same, "" where it does not.
    """

    component: str
    layer: str
    width: str
    figures: Figures
    stays_float: str = ""

    @property
    def rank(self) -> tuple[float, float]:
        """Return what sorts the worst first; NaN is worse than any number."""
        psnr, x0 = self.figures.image_psnr_db, self.figures.x0_sqnr_db
        return (-math.inf if math.isnan(psnr) else psnr, -math.inf if math.isnan(x0) else x0)


@dataclass(frozen=True)
class SensitivityReport:
    """The layers of an artifact in its own order, and on what they were tried.

    `cases` pictures each, of a list of `prompts` prompts, against the float artifact's own; `calibration` samples.
    """

    machine: Machine
    tools: Mapping[str, str]
    artifact: str
    artifact_key: str
    cases: int
    prompts: int
    calibration: int
    seconds: float
    layers: tuple[LayerSensitivity, ...]
    schema: Schema = field(default_factory=lambda: Schema(SENSITIVITY_SCHEMA, SENSITIVITY_VERSION))

    @property
    def ranked(self) -> tuple[LayerSensitivity, ...]:
        """Every layer, the one that costs the pictures most first."""
        return tuple(sorted(self.layers, key=lambda layer: layer.rank))


@dataclass(frozen=True)
class Point:
    """One assignment that was measured whole: which budget it was made for, what it really takes, and how good it is.

    `uniform` is the width that all layers have, "" for an assignment of several. `chosen`: the artifact that was
    written. `dominated`: another point is no larger, and better.
    """

    name: str
    budget_bytes: int
    figures: Figures
    uniform: str = ""
    chosen: bool = False
    dominated: bool = False


@dataclass(frozen=True)
class MixedReport:
    """A search: the points that were measured, and the width of each layer, "component/layer" -> width, of the chosen.

    `smallest_bytes` is what all layers at their narrowest take; `float_bytes` what the float graphs do. `repairs` are
    lines on what was changed after a measurement of the whole.
    """

    machine: Machine
    tools: Mapping[str, str]
    artifact: str
    artifact_key: str
    goal: str
    cases: int
    prompts: int
    calibration: int
    seconds: float
    float_bytes: int
    smallest_bytes: int
    points: tuple[Point, ...]
    widths: Mapping[str, str]
    repairs: tuple[str, ...] = ()
    schema: Schema = field(default_factory=lambda: Schema(MIXED_SCHEMA, MIXED_VERSION))
