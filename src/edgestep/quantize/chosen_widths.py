"""What a search chose -> the widths of one graph: `mixed` of ONNX and OpenVINO, whose bits are chosen before."""

import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from edgestep.artifact import BadInput
from edgestep.quantize.floats import WEIGHTS_STAY_FLOAT, Quantized, StaysFloat, layers_named
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


def mixed_by(
    write: Callable[..., Quantized],
    weight_files: Callable[[Path], tuple[Path, ...]],
    weight_layers: Callable[[Path], tuple[str, ...]],
) -> Callable[..., Quantized]:
    """Return `mixed` of a format whose writer of widths is `write`; what reads its files and layers is the format's.

    What is returned raises BadInput where `widths` has none of the graph that it is given.
    """

    def quantize_mixed(
        source: Path,
        final: Path,
        feeds: Sequence[Mapping[str, np.ndarray]],
        table: Sequence[StaysFloat] = WEIGHTS_STAY_FLOAT,
        *,
        widths: ChosenWidths,
    ) -> Quantized:
        mine = widths_of(source, widths)
        if all(width.is_float for width in mine.values()):
            return copied_float(source, final, weight_files(source), weight_layers(source), table)
        return write(source, final, feeds, table, mine)

    return quantize_mixed
