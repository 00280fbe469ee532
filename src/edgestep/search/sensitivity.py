"""Each layer of a float artifact quantized alone, the rest float -> what that does to x0 and to the pictures."""

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgestep.artifact import Artifact, BadInput, read_artifact, tool_versions
from edgestep.harness.machine import machine_here
from edgestep.quantize.floats import STAYS_FLOAT, UNNAMED, WEIGHTS_STAY_FLOAT, module_path
from edgestep.search.kept import Kept, run_kept
from edgestep.search.results import LayerSensitivity, SensitivityReport
from edgestep.search.runners import runner
from edgestep.search.trials import W8A8, Change, Setting, Trial
from edgestep.search.writers import Layer, known_widths, unknown_width, writer_for

CASES = 8
CALIBRATION = 8
"""Samples that each trial calibrates on: one layer's ranges settle with few."""
TRIALS = "trials.jsonl"
FLOAT_SCHEMES = ("fp32",)
"""Of what artifacts layers are tried: those whose weights are all there."""


@dataclass(frozen=True)
class Request:
    """What to measure: an artifact's folder, the widths to try each layer at, and on what.

    `ray` is a cluster's address, None for this process.
    """

    artifact: Path
    widths: tuple[str, ...]
    prompts: tuple[str, ...]
    cases: int = CASES
    calibration: int = CALIBRATION
    ray: str | None = None


def measure_sensitivity(request: Request, out: Path, tell: Callable[[str], None] = lambda _: None) -> SensitivityReport:
    """Try every layer at every width; finished trials are kept in `out`/trials.jsonl, and not run again.

    Raises BadInput for an artifact that is not float ONNX or OpenVINO, an unknown width, fewer than 2 calibration
    samples, or a prompt that does not fit.
    """
    start = time.monotonic()
    artifact = checked_artifact(request)
    setting = setting_from(request, artifact)
    wanted = layers_of(request.artifact, artifact, request.widths)
    trials = [Trial((Change(component, layer.name, width),)) for component, width, layer in wanted]
    kept = Kept(out / TRIALS, setting)
    tell(f"sensitivity: {len(trials)} trials of one layer each, {request.cases} cases")
    if all(kept.get(trial) is not None for trial in trials):
        figures = run_kept(trials, kept, lambda _: iter(()), tell)
    else:
        with runner(setting, request.ray, tell) as run:
            figures = run_kept(trials, kept, run, tell)
    rows = [
        LayerSensitivity(c, layer.name, w, f, stays_float(layer.name, w))
        for (c, w, layer), f in zip(wanted, figures, strict=True)
    ]
    return SensitivityReport(
        machine=machine_here(),
        tools=tool_versions("onnx", "onnxruntime", "openvino", "nncf", "numpy"),
        artifact=artifact.name,
        artifact_key=artifact.key,
        cases=request.cases,
        prompts=len(request.prompts),
        calibration=request.calibration,
        seconds=time.monotonic() - start,
        layers=tuple(rows),
    )


def checked_artifact(request: Request) -> Artifact:
    """Return the artifact's manifest, its files checked; raise BadInput where it or the request cannot be used."""
    artifact = read_artifact(request.artifact)
    if artifact.scheme not in FLOAT_SCHEMES:
        raise BadInput(
            f"got {artifact.name} of scheme {artifact.scheme}; expected {' or '.join(FLOAT_SCHEMES)}; measure the "
            "float export, not what was made from it"
        )
    if not request.widths or (unknown := unknown_width(request.widths)):
        got = repr(unknown) if request.widths else "no width"
        raise BadInput(f"got {got}; expected {W8A8}, or widths of weights: {known_widths()}; choose among these")
    if request.calibration < 2 or request.cases < 1:
        raise BadInput(
            f"got {request.calibration} calibration samples and {request.cases} cases; expected 2 or more, and 1 or "
            "more; 8 of each are a good start"
        )
    for width in request.widths:
        writer_for(artifact.format, {width})
    return artifact


def setting_from(request: Request, artifact: Artifact) -> Setting:
    """Return what all trials of the request have in common."""
    folder = str(request.artifact.resolve())
    return Setting(folder, artifact.key, request.prompts, request.cases, request.calibration)


def layers_of(folder: Path, artifact: Artifact, widths: Sequence[str]) -> list[tuple[str, str, Layer]]:
    """Return (component, width, layer) of everything that can be tried, in the order of the graphs."""
    return [
        (component.name, width, layer)
        for component in artifact.components
        for width in widths
        for layer in writer_for(artifact.format, {width}).layers(folder / component.file)
    ]


def stays_float(layer: str, width: str) -> str:
    """Return why the scheme of that width leaves a layer float, "" where it does not."""
    path = module_path(layer)
    table = STAYS_FLOAT if width == W8A8 else WEIGHTS_STAY_FLOAT
    return next((row.reason for row in table if re.search(row.pattern, path)), "") if path else UNNAMED
