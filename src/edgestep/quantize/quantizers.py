"""(format, scheme) -> what makes it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from edgestep.quantize.coreml.evaluated import Evaluate
from edgestep.quantize.coreml.mixed import MEAN_BITS, plan_mixed, quantize_coreml_mixed
from edgestep.quantize.coreml.w8a8 import quantize_coreml_w8a8
from edgestep.quantize.coreml.weight_only import (
    check_coreml_parent,
    coreml_layers,
    coreml_weight_files,
    quantize_coreml_weights,
)
from edgestep.quantize.coreml.weights import fits
from edgestep.quantize.floats import Quantized, StaysFloat, module_path
from edgestep.quantize.keep_fp32 import dotted_fits
from edgestep.quantize.onnx.w8a8 import onnx_layers, onnx_weight_files, quantize_onnx_w8a8
from edgestep.quantize.openvino.w8a8 import openvino_layers, openvino_weight_files, quantize_openvino_w8a8


@dataclass(frozen=True)
class Options:
    """`evaluate` opens a .mlpackage: what calibrated schemes of Core ML measure with. `mean_bits`: mixed's budget."""

    evaluate: Evaluate | None = None
    mean_bits: float = MEAN_BITS


@dataclass(frozen=True)
class Quantizer:
    """`quantize(source, final, feeds, table)` writes one graph; `weight_files(source)` is what it replaces, and
    `modules(source)` names the modules of what it could quantize, which `fits` holds against a row of a table.

    `check(source, scheme)` refuses a graph before anything is computed. `plan(sources, table, evaluate, mean_bits,
    kept, tell)`, where there is one, looks at all graphs first, and `quantize` is given its `plan` of each.
    `evaluates`: `quantize` is given `evaluate`.
    """

    quantize: Callable[..., Quantized]
    weight_files: Callable[[Path], tuple[Path, ...]]
    modules: Callable[[Path], tuple[str, ...]]
    tools: tuple[str, ...]
    fits: Callable[[StaysFloat, str], bool] = dotted_fits
    check: Callable[[Path, str], None] = lambda _, __: None
    plan: Callable[..., Mapping[Path, Any]] | None = None
    evaluates: bool = False


def _paths(layers: Callable[[Path], tuple[str, ...]]) -> Callable[[Path], tuple[str, ...]]:
    return lambda source: tuple(module_path(layer) for layer in layers(source))


def _coreml(quantize: Callable[..., Quantized], **more: Any) -> Quantizer:
    return Quantizer(quantize, coreml_weight_files, coreml_layers, ("coremltools",), fits, check_coreml_parent, **more)


WEIGHT_ONLY = ("w8", "w4", "p8", "p6", "p4", "p2")

QUANTIZERS: dict[tuple[str, str], Quantizer] = {
    ("onnx", "w8a8"): Quantizer(quantize_onnx_w8a8, onnx_weight_files, _paths(onnx_layers), ("onnx", "onnxruntime")),
    ("openvino", "w8a8"): Quantizer(
        quantize_openvino_w8a8, openvino_weight_files, _paths(openvino_layers), ("openvino", "nncf")
    ),
    ("coreml", "w8a8"): _coreml(quantize_coreml_w8a8, evaluates=True),
    ("coreml", "mixed"): _coreml(quantize_coreml_mixed, plan=plan_mixed),
    **{("coreml", name): _coreml(partial(quantize_coreml_weights, scheme=name)) for name in WEIGHT_ONLY},
}
"""A pair for each that SCHEMES lists."""
