"""(format, scheme) -> what makes it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from edgestep.quantize.chosen_widths import ChosenWidths, mixed_by
from edgestep.quantize.coreml.evaluated import Evaluate
from edgestep.quantize.coreml.mixed import MEAN_BITS, plan_mixed, quantize_coreml_mixed
from edgestep.quantize.coreml.w8a8 import quantize_coreml_naive, quantize_coreml_w8a8
from edgestep.quantize.coreml.weight_only import (
    check_coreml_parent,
    coreml_layers,
    coreml_weight_files,
    quantize_coreml_weights,
)
from edgestep.quantize.coreml.weights import fits
from edgestep.quantize.floats import Quantized, StaysFloat, module_path
from edgestep.quantize.keep_fp32 import dotted_fits
from edgestep.quantize.onnx.integer_types import BY_TARGET, types_named
from edgestep.quantize.onnx.naive import quantize_onnx_naive
from edgestep.quantize.onnx.w8a8 import onnx_layers, onnx_weight_files, quantize_onnx_a16w8, quantize_onnx_w8a8
from edgestep.quantize.onnx.weight_only import (
    onnx_weight_layers,
    quantize_onnx_w4,
    quantize_onnx_w8,
    quantize_onnx_weights,
)
from edgestep.quantize.openvino.naive import quantize_openvino_naive
from edgestep.quantize.openvino.w8a8 import openvino_layers, openvino_weight_files, quantize_openvino_w8a8
from edgestep.quantize.openvino.weight_only import (
    quantize_openvino_w4,
    quantize_openvino_w8,
    quantize_openvino_weights,
    weight_layers,
)
from edgestep.quantize.ranges import range_named


@dataclass(frozen=True)
class Options:
    """`evaluate` opens a .mlpackage: what calibrated schemes of Core ML measure with. `mean_bits`: mixed's budget.

    Of static ONNX: `types` of integers and `range_rule`, names of `onnx.integer_types.TYPES` and `ranges.RANGES`,
    and `smoothing`.
    `widths`: what a search chose for mixed of ONNX and OpenVINO, file of a graph -> layer -> width.
    `block_size`: numbers that share a scale in w4 of ONNX and OpenVINO, None for the format's own.
    """

    evaluate: Evaluate | None = None
    mean_bits: float = MEAN_BITS
    types: str = BY_TARGET["x86"]
    range_rule: str = "minmax"
    smoothing: bool = False
    widths: ChosenWidths = field(default_factory=dict)
    block_size: int | None = None

    def __post_init__(self) -> None:
        """Refuse names and numbers that no scheme knows before anything is drawn."""
        types_named(self.types)
        range_named(self.range_rule)


@dataclass(frozen=True)
class Quantizer:
    """`quantize(source, final, feeds, table)` writes one graph; `weight_files(source)` is what it replaces, and
    `modules(source)` names the modules of what it could quantize, which `fits` holds against a row of a table.

    `check(source, scheme)` refuses a graph before anything is computed. `plan(sources, table, evaluate, mean_bits,
    kept, tell)`, where there is one, looks at all graphs first, and `quantize` is given its `plan` of each.
    `evaluates`: `quantize` is given `evaluate`. `takes`: the other fields of `Options` that it is given by name.
    """

    quantize: Callable[..., Quantized]
    weight_files: Callable[[Path], tuple[Path, ...]]
    modules: Callable[[Path], tuple[str, ...]]
    tools: tuple[str, ...]
    fits: Callable[[StaysFloat, str], bool] = dotted_fits
    check: Callable[[Path, str], None] = lambda _, __: None
    plan: Callable[..., Mapping[Path, Any]] | None = None
    evaluates: bool = False
    takes: tuple[str, ...] = ()

    def taken(self, options: Options) -> dict[str, Any]:
        """Return the options that this quantizer is given by name; None leaves it its own default."""
        given = {name: getattr(options, name) for name in self.takes}
        return {name: value for name, value in given.items() if value is not None}


def _paths(layers: Callable[[Path], tuple[str, ...]]) -> Callable[[Path], tuple[str, ...]]:
    return lambda source: tuple(module_path(layer) for layer in layers(source))


def _onnx(quantize: Callable[..., Quantized], **more: Any) -> Quantizer:
    return Quantizer(quantize, onnx_weight_files, _paths(onnx_layers), ("onnx", "onnxruntime"), **more)


def _openvino(
    quantize: Callable[..., Quantized], layers: Callable[[Path], tuple[str, ...]], *tools: str, **more: Any
) -> Quantizer:
    return Quantizer(quantize, openvino_weight_files, _paths(layers), ("openvino", *tools), **more)


def _coreml(quantize: Callable[..., Quantized], **more: Any) -> Quantizer:
    return Quantizer(quantize, coreml_weight_files, coreml_layers, ("coremltools",), fits, check_coreml_parent, **more)


WEIGHT_ONLY = ("w8", "w4", "p8", "p6", "p4", "p2")

QUANTIZERS: dict[tuple[str, str], Quantizer] = {
    ("onnx", "w8a8"): _onnx(quantize_onnx_w8a8, takes=("types", "range_rule", "smoothing")),
    ("onnx", "a16w8"): _onnx(quantize_onnx_a16w8, takes=("range_rule", "smoothing")),
    ("onnx", "naive_w8a8"): _onnx(quantize_onnx_naive),
    ("onnx", "w8"): Quantizer(quantize_onnx_w8, onnx_weight_files, _paths(onnx_weight_layers), ("onnx",)),
    ("onnx", "w4"): Quantizer(
        quantize_onnx_w4,
        onnx_weight_files,
        _paths(onnx_weight_layers),
        ("onnx", "onnxruntime"),
        takes=("block_size",),
    ),
    ("onnx", "mixed"): Quantizer(
        mixed_by(quantize_onnx_weights, onnx_weight_files, onnx_weight_layers),
        onnx_weight_files,
        _paths(onnx_weight_layers),
        ("onnx", "onnxruntime"),
        takes=("widths",),
    ),
    ("openvino", "w8a8"): _openvino(quantize_openvino_w8a8, openvino_layers, "nncf"),
    ("openvino", "naive_w8a8"): _openvino(quantize_openvino_naive, openvino_layers, "nncf"),
    ("openvino", "w8"): _openvino(quantize_openvino_w8, weight_layers),
    ("openvino", "w4"): _openvino(quantize_openvino_w4, weight_layers, takes=("block_size",)),
    ("openvino", "mixed"): _openvino(
        mixed_by(quantize_openvino_weights, openvino_weight_files, weight_layers), weight_layers, takes=("widths",)
    ),
    ("coreml", "w8a8"): _coreml(quantize_coreml_w8a8, evaluates=True),
    ("coreml", "naive_w8a8"): _coreml(quantize_coreml_naive, evaluates=True),
    ("coreml", "mixed"): _coreml(quantize_coreml_mixed, plan=plan_mixed),
    **{("coreml", name): _coreml(partial(quantize_coreml_weights, scheme=name)) for name in WEIGHT_ONLY},
}
"""A pair for each that SCHEMES lists."""
