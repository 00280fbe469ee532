"""The table of devices: which artifacts a target gets, what runs them, and what proves them without the device."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from edgestep.artifact import BadInput


@dataclass(frozen=True)
class Target:
    """One row. `schemes` are what `ship` makes; `runtime`, a key of `runtimes`, is what runs it on any machine.

    `latency` is what a time taken here is worth: "real", or "" where none is taken. `options` are those of Core ML's
    export: compute_unit and deployment_target.
    """

    name: str
    format: str
    schemes: tuple[str, ...]
    layouts: tuple[str, ...]
    runtime: str
    proof: str
    latency: str
    options: Mapping[str, str] = field(default_factory=dict)


EVALUATED = "graph parity (evaluated); its golden bundle replays it on a Mac"

TARGETS: dict[str, Target] = {
    target.name: target
    for target in (
        Target("x86", "onnx", ("fp32", "fp16", "w8a8"), ("split", "fused"), "onnxruntime", "ONNX Runtime CPU", "real"),
        Target("intel", "openvino", ("fp16", "w8a8"), ("split", "fused"), "openvino", "OpenVINO CPU", "real"),
        Target(
            *("mac", "coreml", ("fp16",), ("split", "fused"), "mil-evaluator", EVALUATED, "real"),
            {"compute_unit": "gpu", "deployment_target": "macOS15"},
        ),
        Target(
            *("iphone", "coreml", ("fp16", "w8", "p6", "w8a8"), ("split", "fused"), "mil-evaluator", EVALUATED, ""),
            {"compute_unit": "ane", "deployment_target": "iOS18"},
        ),
    )
}
"""Target name -> row. A target that is not here yet is not offered."""


def target_named(name: str) -> Target:
    """Return the row of that name; raise BadInput with the names there are."""
    if name not in TARGETS:
        raise BadInput(f"got target {name!r}; expected one of {', '.join(TARGETS)}; see 'edgestep targets'")
    return TARGETS[name]
