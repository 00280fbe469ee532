"""Float ONNX -> ONNX whose weights have the widths that a search chose, layer by layer."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from edgestep.quantize.chosen_widths import ChosenWidths, copied_float, widths_of
from edgestep.quantize.floats import WEIGHTS_STAY_FLOAT, Quantized, StaysFloat
from edgestep.quantize.onnx.w8a8 import onnx_weight_files
from edgestep.quantize.onnx.weight_only import onnx_weight_layers, quantize_onnx_weights


def quantize_onnx_mixed(
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
        return copied_float(source, final, onnx_weight_files(source), onnx_weight_layers(source), table)
    return quantize_onnx_weights(source, final, feeds, table, mine)
