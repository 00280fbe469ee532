"""The schemes: name -> what it does, and for which format of artifact it exists.

A name decodes mechanically: w8a8 is 8-bit weights and 8-bit activations. A scheme stands here once it is proven on
the bundled generator; w8, w4, a16w8 and mixed have their place here.
"""

from dataclasses import dataclass

from edgestep.artifact import BadInput


@dataclass(frozen=True)
class Scheme:
    """One scheme: `formats` maps an artifact's format to the schemes that its parent may have."""

    name: str
    formats: dict[str, tuple[str, ...]]
    description: str


SCHEMES: dict[str, Scheme] = {
    scheme.name: scheme
    for scheme in (
        Scheme(
            "w8a8",
            {"onnx": ("fp32",), "openvino": ("fp32", "fp16")},
            "static INT8: weights per channel, activations per tensor, calibrated",
        ),
    )
}
"""Scheme name -> scheme."""


def scheme_for(name: str, form: str, parent_scheme: str) -> Scheme:
    """Return the scheme; raise BadInput, with the table of what there is, where it does not exist for such a parent."""
    table = "; ".join(
        f"{scheme.name} from {_listed(form, parents)}"
        for scheme in SCHEMES.values()
        for form, parents in scheme.formats.items()
    )
    if name not in SCHEMES or form not in SCHEMES[name].formats:
        raise BadInput(f"got scheme {name!r} for {form}; expected one of: {table}; choose one of these")
    if parent_scheme not in SCHEMES[name].formats[form]:
        raise BadInput(
            f"got a parent of format {form} and scheme {parent_scheme!r} for {name}; expected one of: {table}; "
            "quantize the float export, not what was made from it"
        )
    return SCHEMES[name]


def _listed(form: str, parents: tuple[str, ...]) -> str:
    return f"{form} {' or '.join(parents)}"
