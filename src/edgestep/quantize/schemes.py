"""The schemes: name -> what it does, and for which format of artifact it exists.

A name decodes mechanically: w8a8 is 8-bit weights and 8-bit activations, p4 is weights palettized to tables of 2^4
numbers. A scheme stands here once it is proven on the bundled generator.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from edgestep.artifact import BadInput
from edgestep.quantize.floats import STAYS_FLOAT, WEIGHTS_STAY_FLOAT, StaysFloat

FLOATS = ("fp16", "fp32")
SAMPLES, CHANNEL_SAMPLES, MORE_SAMPLES = 48, 128, 256
"""Drawings to calibrate on: for the range of a tensor, for those of its channels, and for GPTQ in few bits, to which a
UNet's deepest layers show 4 pixels a drawing. The bundled generator's worst picture in w4 is at 26.9 dB with 48 and at
31.0 with 256.
"""


@dataclass(frozen=True)
class Scheme:
    """One scheme: `formats` maps an artifact's format to the schemes that its parent may have, the usual one first.

    `calibrated`: it needs to know what the components are fed, but in the formats `uncalibrated`. `table`: what stays
    float. `hidden`: it is not offered where schemes are listed.
    """

    name: str
    formats: dict[str, tuple[str, ...]]
    description: str
    calibrated: bool = False
    uncalibrated: tuple[str, ...] = ()
    hidden: bool = False
    table: Sequence[StaysFloat] = WEIGHTS_STAY_FLOAT


SCHEMES: dict[str, Scheme] = {
    scheme.name: scheme
    for scheme in (
        Scheme(
            "w8a8",
            {"onnx": ("fp32",), "openvino": ("fp32", "fp16"), "coreml": FLOATS},
            "static INT8: weights per channel, activations per tensor, calibrated",
            calibrated=True,
            table=STAYS_FLOAT,
        ),
        Scheme(
            "a16w8",
            {"onnx": ("fp32",)},
            "static, for phone NPUs: uint16 activations, int8 weights per channel, calibrated",
            calibrated=True,
            table=STAYS_FLOAT,
        ),
        Scheme(
            "naive_w8a8",
            {"onnx": ("fp32",), "openvino": ("fp32", "fp16"), "coreml": FLOATS},
            "the control: INT8 with a scale for each tensor and nothing left float; not for use",
            calibrated=True,
            table=(),
            hidden=True,
        ),
        Scheme(
            "w8",
            {"onnx": ("fp32", "fp16"), "openvino": ("fp32", "fp16"), "coreml": FLOATS},
            "weights int8 per output channel",
        ),
        Scheme(
            "w4",
            {"onnx": ("fp32", "fp16"), "openvino": ("fp32", "fp16"), "coreml": FLOATS},
            "weights int4 per block of inputs, int8 where that loses most; Core ML: iOS 18 and macOS 15",
            calibrated=True,
            uncalibrated=("coreml",),
        ),
        Scheme("p8", {"coreml": FLOATS}, "weights palettized, 256 numbers"),
        Scheme("p6", {"coreml": FLOATS}, "weights palettized, 64 numbers"),
        Scheme("p4", {"coreml": FLOATS}, "weights palettized, 16 numbers; from iOS 18 on for each 16 channels"),
        Scheme("p2", {"coreml": FLOATS}, "weights palettized, 4 numbers; from iOS 18 on for each 16 channels"),
        Scheme(
            "mixed",
            {"onnx": ("fp32",), "openvino": ("fp32",), "coreml": FLOATS},
            "weights of 2 to 8 bits by sensitivity: within a budget, or as few as a gate lets",
            calibrated=True,
        ),
    )
}
"""Scheme name -> scheme."""


def samples_for(name: str, form: str) -> int:
    """Return how many drawings a scheme is calibrated on in a format."""
    if (name, form) == ("w8a8", "onnx"):
        return CHANNEL_SAMPLES
    return MORE_SAMPLES if name in ("w4", "mixed") and form != "coreml" else SAMPLES


def scheme_for(name: str, form: str, parent_scheme: str) -> Scheme:
    """Return the scheme, calibrated or not as that format's is.

    Raises BadInput, with the table of what there is, where it does not exist for such a parent.
    """
    grouped: dict[str, list[str]] = {}
    for scheme in (scheme for scheme in SCHEMES.values() if not scheme.hidden):
        for each, parents in scheme.formats.items():
            grouped.setdefault(_listed(each, parents), []).append(scheme.name)
    table = "; ".join(f"{', '.join(names)} from {parents}" for parents, names in grouped.items())
    if name in ("fp16", "fp32"):
        raise BadInput(
            f"got scheme {name!r}, which is a precision of export; expected a scheme of integers: {table}; export the "
            f"checkpoint with --precision {name}"
        )
    if name not in SCHEMES or form not in SCHEMES[name].formats:
        raise BadInput(f"got scheme {name!r} for {form}; expected one of: {table}; choose one of these")
    if parent_scheme not in SCHEMES[name].formats[form]:
        raise BadInput(
            f"got a parent of format {form} and scheme {parent_scheme!r} for {name}; expected one of: {table}; "
            "quantize the float export, not what was made from it"
        )
    scheme = SCHEMES[name]
    return replace(scheme, calibrated=scheme.calibrated and form not in scheme.uncalibrated)


def _listed(form: str, parents: tuple[str, ...]) -> str:
    return f"{form} {' or '.join(parents)}"
