"""What a search chose -> the widths of one graph: `mixed` of ONNX and OpenVINO, whose bits are chosen before."""

import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from edgestep.artifact import BadInput
from edgestep.quantize.floats import Quantized, StaysFloat, layers_named
from edgestep.quantize.widths import WIDTHS, Width

ChosenWidths = Mapping[str, Mapping[str, str]]
"""File of a graph in its artifact, `unet/model.onnx` -> layer -> a name of WIDTHS."""


def widths_of(source: Path, chosen: ChosenWidths) -> dict[str, Width]:
    """Return layer -> width of the graph at `source`; raise BadInput where nothing was chosen for it."""
    for file, widths in chosen.items():
        if f"/{source.as_posix()}".endswith(f"/{file}"):
            return {layer: WIDTHS[name] for layer, name in widths.items()}
    raise BadInput(
        f"got no widths for the layers of {source}; expected those that a search chose; give mixed a goal, such as "
        "--budget-fraction 0.15"
    )


def copied_float(
    source: Path, final: Path, files: Iterable[Path], layers: Iterable[str], table: Sequence[StaysFloat]
) -> Quantized:
    """Copy a graph of which every layer stays float, with its weights, as it is; return those layers, with reasons."""
    for file in files:
        shutil.copyfile(file, final.parent / file.relative_to(source.parent))
    named = layers_named(source, layers, table)
    return replace(named, layers=(), floats={**named.floats, **dict.fromkeys(named.layers, "left float by the search")})
