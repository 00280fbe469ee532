"""What a search chose -> the widths of one graph: `mixed` of ONNX and OpenVINO, whose bits are chosen before."""

from collections.abc import Mapping
from pathlib import Path

from edgestep.artifact import BadInput
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
