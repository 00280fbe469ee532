"""Weights against what their module expects: one line that lists every mismatch."""

from collections.abc import Mapping, Sequence

from edgestep.artifact import BadInput
from edgestep.export.source.weights import Weights

SPELLED = 4
"""How many of each kind of mismatch are named."""


def check_fit(component: str, expected: Mapping[str, tuple[int, ...]], weights: Weights) -> None:
    """Raise BadInput where names or shapes differ; `expected` is {name: shape} of the module's state dict.

    got weights of unet that do not fit its config: 2 missing (a.weight [4, 4], b), 1 of another shape (c [4] for [8])
    """
    missing = [f"{name} {list(expected[name])}" for name in expected if name not in weights]
    unexpected = [f"{name} {list(weights[name].shape)}" for name in weights if name not in expected]
    other = [
        f"{name} {list(weights[name].shape)} for {list(shape)}"
        for name, shape in expected.items()
        if name in weights and tuple(weights[name].shape) != tuple(shape)
    ]
    kinds = [("missing", missing), ("unexpected", unexpected), ("of another shape", other)]
    said = [_said(kind, found) for kind, found in kinds if found]
    if said:
        origin = next((weight.origin for weight in weights.values()), "no file")
        raise BadInput(
            f"got weights of {component} in {origin} that do not fit its config: {'; '.join(said)}; expected exactly "
            f"its {len(expected)} tensors; give the file that was made for this base, or the base that it was made for"
        )


def _said(kind: str, found: Sequence[str]) -> str:
    more = f", and {len(found) - SPELLED} more" if len(found) > SPELLED else ""
    return f"{len(found)} {kind} ({', '.join(found[:SPELLED])}{more})"
