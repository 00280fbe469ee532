"""The integers of a static scheme: what activations and weights are rounded to, and on which processors it is exact.

x86 without VNNI multiplies u8 by s8 two at a time and adds the two products in 16 bits, which saturate
(`vpmaddubsw`). 7 bits of weight cannot reach that, nor can uint8 weights, which take another path.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from edgestep.artifact import BadInput


@dataclass(frozen=True)
class IntegerTypes:
    """`activation` and `weight` are numpy dtypes by name; `bits` of the weight are used, `exact_on` says where the
    sums never saturate. `headroom`: how many times wider than what was seen a range is: unseen prompts go beyond it,
    which 16 bits can afford."""

    name: str
    activation: str
    weight: str
    bits: int
    exact_on: str
    headroom: float = 1.0

    @property
    def levels(self) -> int:
        """Return how many numbers an activation may become."""
        return int(np.iinfo(self.activation).max) - int(np.iinfo(self.activation).min) + 1

    @property
    def saturates(self) -> bool:
        """Tell whether x86 without VNNI may saturate."""
        return self.weight == "int8" and self.bits == 8 and self.activation in ("uint8", "int8")


EVERYWHERE = "every processor"
WITHOUT_PAIRS = "processors that add in 32 bits: x86 with VNNI, arm64"

TYPES: dict[str, IntegerTypes] = {
    types.name: types
    for types in (
        IntegerTypes("u8s7", "uint8", "int8", 7, EVERYWHERE),
        IntegerTypes("u8u8", "uint8", "uint8", 8, EVERYWHERE),
        IntegerTypes("u8s8", "uint8", "int8", 8, WITHOUT_PAIRS),
        IntegerTypes("s8s8", "int8", "int8", 8, WITHOUT_PAIRS),
        IntegerTypes("u16s8", "uint16", "int8", 8, EVERYWHERE, headroom=2.0),
    )
}
"""Name -> types: activation, then weight. u8s7 is u8s8 with a reduced range."""

BY_TARGET: Mapping[str, str] = {"x86": "u8s7", "arm64": "u8s8", "android": "s8s8"}
"""Target -> the types that its fastest kernels take without saturating."""

A16 = TYPES["u16s8"]


def types_for(target: str) -> str:
    """Return the name of a target's types; x86's, which saturate nowhere, for one that is not in the table."""
    return BY_TARGET.get(target, BY_TARGET["x86"])


def types_named(name: str) -> IntegerTypes:
    """Return the types of w8a8; raise BadInput with the names there are."""
    known = [each.name for each in TYPES.values() if each is not A16]
    if name not in known:
        raise BadInput(f"got types {name!r}; expected one of {', '.join(known)}; choose one of these")
    return TYPES[name]
