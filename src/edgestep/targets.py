"""The table of devices: which artifacts a target gets, what runs them, and what proves them without the device."""

from dataclasses import dataclass

from edgestep.artifact import BadInput


@dataclass(frozen=True)
class Target:
    """One row. `schemes` are what `ship` makes; `runtime` is a key of `runtimes`, "" where none runs here yet."""

    name: str
    format: str
    schemes: tuple[str, ...]
    layouts: tuple[str, ...]
    runtime: str
    proof: str
    latency: str


TARGETS: dict[str, Target] = {
    target.name: target
    for target in (
        Target("x86", "onnx", ("fp32", "fp16", "w8a8"), ("split", "fused"), "onnxruntime", "ONNX Runtime CPU", "real"),
        Target("intel", "openvino", ("fp16", "w8a8"), ("split", "fused"), "openvino", "OpenVINO CPU", "real"),
        Target("mac", "coreml", ("fp16",), ("split",), "", "conversion only: loaded back, not run", ""),
    )
}
"""Target name -> row. A target that is not here yet is not offered."""


def target_named(name: str) -> Target:
    """Return the row of that name; raise BadInput with the names there are."""
    if name not in TARGETS:
        raise BadInput(f"got target {name!r}; expected one of {', '.join(TARGETS)}; see 'edgestep targets'")
    return TARGETS[name]
