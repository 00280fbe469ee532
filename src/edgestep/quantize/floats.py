"""Module path -> does it stay float, and why: the one table of what INT8 must not touch in a one-step generator.

The exporters name every node after its module, `unet.conv_out/Conv`: the same table serves ONNX and OpenVINO, split
and fused (where a path has more in front of it).
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgestep.artifact import BadInput


@dataclass(frozen=True)
class StaysFloat:
    """A regular expression that is searched in a layer's module path, and the reason that these layers stay float."""

    pattern: str
    reason: str


STAYS_FLOAT: tuple[StaysFloat, ...] = (
    StaysFloat(r"(^|\.)conv_in$", "reads the noise or the latents themselves: the most sensitive layer"),
    StaysFloat(r"(^|\.)post_quant_conv$", "mixes the latents themselves, and is small"),
    StaysFloat(r"(^|\.)conv_out$", "its error is amplified by k_e, or is in the picture as it stands"),
    StaysFloat(r"(attn\d?|attentions\.\d+)$", "products of two activations, around a softmax"),
    StaysFloat(r"(^|\.)unet\.up_blocks\..*conv_shortcut$", "reads a concatenation of two unequal ranges"),
    StaysFloat(r"\.attn2\.to_[kv]$", "the start token is 100 times larger than the words, which 8 bits would lose"),
)
"""Searched in this order; the first that fits gives the reason."""

WEIGHTS_STAY_FLOAT = STAYS_FLOAT[:3]
"""What weights alone must not touch: the rest of the table is about what flows between layers."""

UNNAMED = "an optimiser folded the formula or the latent scale into it, and lost its name"
"""Why a layer stays float whose name says no module: conv_out, most of the time."""


def module_path(layer: str) -> str:
    """Return the module path of a layer's name, "" for none: `unet.conv_out/Conv/WithoutBiases` -> `unet.conv_out`."""
    path = layer.split("/", 1)[0]
    return path if "." in path else ""


@dataclass(frozen=True)
class Quantized:
    """The layers of one graph: those that became smaller, and those that stayed float, with the reason.

    `how`: in words, where a scheme does it in more than one way. `warning`: what the user should know before it is used
    elsewhere.
    """

    layers: tuple[str, ...]
    floats: Mapping[str, str]
    how: str = ""
    warning: str = ""

    def notes(self, component: str) -> tuple[str, ...]:
        """Return lines for a manifest: how many layers became INT8, and which stayed float, by reason."""
        how = f": {self.how}" if self.how else ""
        lines = [f"{component}: {len(self.layers)} layers quantized, {len(self.floats)} stay float{how}"]
        lines += [f"{component}: {self.warning}"] if self.warning else []
        for reason in dict.fromkeys(self.floats.values()):
            same = (
                re.sub(r"\.\d+", ".*", module_path(layer) or layer)
                for layer, why in self.floats.items()
                if why == reason
            )
            listed = ", ".join(f"{path} ({count})" for path, count in Counter(same).items())
            lines.append(f"{component}: float, {reason}: {listed}")
        return tuple(lines)


def layers_named(file: Path, layers: Iterable[str], table: Sequence[StaysFloat] = STAYS_FLOAT) -> Quantized:
    """Part the layers of a graph by the table.

    Raises BadInput where none has the name of a module: the table would then find nothing, and the file be useless.
    """
    names = tuple(layers)
    if not any(module_path(name) for name in names):
        raise BadInput(
            f"got {file}, whose layers are not named after modules; expected names such as unet.conv_in/Conv; export "
            "the artifact again"
        )
    reasons = {name: _reason(module_path(name), table) for name in names}
    floats = {name: reason for name, reason in reasons.items() if reason}
    return Quantized(tuple(name for name in names if name not in floats), floats)


def _reason(path: str, table: Sequence[StaysFloat]) -> str:
    """Return why the layer stays float, "" where it does not."""
    return next((row.reason for row in table if re.search(row.pattern, path)), "") if path else UNNAMED
