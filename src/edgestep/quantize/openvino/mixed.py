"""Float OpenVINO IR -> IR whose weights have the widths that a search chose, layer by layer."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from edgestep.quantize.chosen_widths import ChosenWidths, copied_float, widths_of
from edgestep.quantize.floats import WEIGHTS_STAY_FLOAT, Quantized, StaysFloat
from edgestep.quantize.openvino.w8a8 import openvino_weight_files
from edgestep.quantize.openvino.weight_only import quantize_openvino_weights, weight_layers


def quantize_openvino_mixed(
    source: Path,
    final: Path,
    feeds: Sequence[Mapping[str, np.ndarray]],
    table: Sequence[StaysFloat] = WEIGHTS_STAY_FLOAT,
    *,
    widths: ChosenWidths,
) -> Quantized:
    """Write the model to `final`; return which layers it is. Raises BadInput where `widths` has none of this graph."""
    mine = widths_of(source, widths)
    if all(width.is_float for width in mine.values()):
        return copied_float(source, final, openvino_weight_files(source), weight_layers(source), table)
    return quantize_openvino_weights(source, final, feeds, table, mine)
