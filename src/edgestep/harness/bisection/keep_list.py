"""Bisected -> the modules that should stay float: the JSON list that `edgestep quantize --keep-fp32` reads."""

import json
from pathlib import Path

from edgestep.harness.bisection.results import Bisected, TapError
from edgestep.harness.written import write_text

LAYERS = {"Conv", "MatMul", "Gemm"}
"""Operators that quantization turns into INT8."""


def keep_list(bisected: Bisected, most: int) -> tuple[str, ...]:
    """Return modules with weights, the largest local error first: the suspects, and of a quantized artifact `most`."""
    layers = [tap for tap in bisected.ranked if tap.op in LAYERS]
    quantized = [tap for tap in layers if tap.quantized][:most]
    chosen = [tap for tap in layers if tap.suspect or tap in quantized]
    return tuple(dict.fromkeys(tap.module for tap in chosen if _is_layer(tap)))


def _is_layer(tap: TapError) -> bool:
    """Tell whether it is a layer by itself, and not the products inside an attention."""
    return not {"Softmax", "Attention"} & set(tap.ops)


def write_keep_list(path: Path, modules: tuple[str, ...]) -> None:
    """Write the list; BadInput where it cannot be written."""
    write_text(path, json.dumps(modules, indent=1) + "\n")
