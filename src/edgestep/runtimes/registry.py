"""Runtime name -> Session, and which runtime opens what."""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from edgestep.artifact import Artifact, BadInput
from edgestep.runtimes.coreml_session import CoreMLSession
from edgestep.runtimes.mil_evaluator import MilEvaluator
from edgestep.runtimes.mil_probe import MilProbe
from edgestep.runtimes.onnx_probe import OnnxProbe
from edgestep.runtimes.onnxruntime_session import OnnxRuntimeSession
from edgestep.runtimes.openvino_probe import OpenVINOProbe
from edgestep.runtimes.openvino_session import OpenVINOSession
from edgestep.runtimes.probe import Probe
from edgestep.runtimes.session import Session

SESSIONS: dict[str, Callable[..., Session]] = {
    "onnxruntime": OnnxRuntimeSession,
    "onnxruntime-cuda": partial(OnnxRuntimeSession, device="cuda"),
    "openvino": OpenVINOSession,
    "mil-evaluator": MilEvaluator,
    "coreml": CoreMLSession,
    "coreml-cpu": partial(CoreMLSession, compute_unit="cpu"),
    "coreml-gpu": partial(CoreMLSession, compute_unit="gpu"),
    "coreml-ane": partial(CoreMLSession, compute_unit="ane"),
}
"""Runtime name -> what opens a file on it."""

EVALUATED = ("mil-evaluator",)
"""Runtimes that execute what a file says, on another machine than the one that it is made for."""

ON_MAC = ("coreml", "coreml-cpu", "coreml-gpu", "coreml-ane")
"""Runtimes that macOS alone has."""

COREML_RUNTIMES = ("mil-evaluator", *ON_MAC)
"""Runtimes that open Core ML packages, and nothing else."""

COREML = "coreml" if sys.platform == "darwin" else "mil-evaluator"
"""What runs a Core ML package here."""

PROBES: dict[str, Callable[..., Probe]] = {
    "onnxruntime": OnnxProbe,
    "openvino": OpenVINOProbe,
    "mil-evaluator": MilProbe,
}
"""Runtime name -> what opens a file on it to look into."""

PACKAGES: dict[str, str] = {
    "onnxruntime": "onnxruntime",
    "onnxruntime-cuda": "onnxruntime",
    "openvino": "openvino",
    **dict.fromkeys(COREML_RUNTIMES, "coremltools"),
}
"""Runtime name -> the package that is imported for it."""

FORMATS: dict[str, str] = {"onnx": "onnxruntime", "openvino": "openvino", "coreml": COREML}
"""Artifact format -> the runtime that runs it here."""

SUFFIXES: dict[str, str] = {".onnx": "onnxruntime", ".xml": "openvino", ".mlpackage": COREML}
"""File suffix -> the runtime that runs it here."""

OTHER_COREML = (".mlmodel", ".mlmodelc")
"""Suffixes of Core ML that nothing here runs: its runtime says why."""


def open_session(runtime: str, file: Path, *, threads: int | None = None, **options: Any) -> Session:
    """Open one model file. `options` are the session's own: `device` of onnxruntime, `precision` of openvino,
    `numerics` and `function` of mil-evaluator.

    Raises BadInput where the runtime has no such name, is not installed, or cannot load the file.
    """
    if runtime not in SESSIONS:
        raise BadInput(f"got runtime {runtime!r}; expected one of {', '.join(SESSIONS)}; choose one of these")
    if threads is not None and threads < 1:
        raise BadInput(f"got {threads} threads; expected 1 or more; leave it out for the runtime's own choice")
    return SESSIONS[runtime](file, threads=threads, **options)


def open_probe(runtime: str, file: Path, *, threads: int | None = None) -> Probe:
    """Open one model file to look into; raise BadInput where the runtime has no such name or cannot read it."""
    if runtime not in PROBES:
        raise BadInput(f"got runtime {runtime!r}; expected one of {', '.join(PROBES)}; choose one of these")
    return PROBES[runtime](file, threads=threads)


def runtime_for(artifact: Artifact) -> str:
    """Return the runtime that runs this artifact here; raise BadInput where there is none."""
    if artifact.format not in FORMATS:
        raise BadInput(
            f"got {artifact.name} of format {artifact.format!r}; expected one of {', '.join(FORMATS)}, which run here; "
            "run it on its own device"
        )
    return FORMATS[artifact.format]


def runtime_for_file(file: Path) -> str:
    """Return the runtime that opens this model file by its suffix; raise BadInput where there is none."""
    if file.suffix in OTHER_COREML:
        return COREML
    if file.suffix not in SUFFIXES:
        raise BadInput(f"got {file}; expected a file that ends in {' or '.join(SUFFIXES)}; name the model file itself")
    return SUFFIXES[file.suffix]
