"""Float ML Program -> one whose weights are smaller, through coremltools.optimize: w8, w4, p8, p6, p4, p2.

w8   int8 per output channel, symmetric about 0
w4   int4 per block of 32 inputs of an output channel, symmetric about 0; iOS 18
pN   2^N numbers in a table, found by k-means: one table a weight; on iOS 18, for p4 and p2, one per 16 output channels
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from edgestep.artifact import BadInput
from edgestep.mlpackage.layout import WEIGHTS
from edgestep.mlpackage.tools import import_coremltools, silenced
from edgestep.quantize.coreml.kmeans import table_from_values
from edgestep.quantize.coreml.package import IOS18, open_package, opset_of, read_spec, save_package
from edgestep.quantize.coreml.weights import Weight, parted, shown_module, weights_of
from edgestep.quantize.floats import WEIGHTS_STAY_FLOAT, Quantized, StaysFloat

BLOCK, GROUP = 32, 16
"""Inputs that share a scale of w4, and output channels that share a table of p4 and p2; less where it must divide."""
GROUPED_BITS = 4
"""From here down a table of its own for each group pays for itself."""
LINEAR = ("w8", "w4")
DECLINED = "is left out by coremltools"


def quantize_coreml_weights(
    source: Path,
    final: Path,
    feeds: Sequence[Mapping[str, np.ndarray]] = (),
    table: Sequence[StaysFloat] = WEIGHTS_STAY_FLOAT,
    *,
    scheme: str,
) -> Quantized:
    """Write the .mlpackage with smaller weights to `final`; return which weights they are. `feeds` are not looked at.

    Raises BadInput for w4 of a package that runs before iOS 18, and where it holds compressed weights already.
    """
    del feeds
    model = open_package(source)
    weights = weights_of(model.get_spec(), source / WEIGHTS)
    layers = parted(weights, table)
    chosen = [weight for weight in weights if weight.name in set(layers.layers)]
    if scheme in LINEAR:
        made = with_linear_weights(model, chosen, bits=int(scheme[1:]))
        how = f"int4, a scale per {BLOCK} inputs" if scheme == "w4" else "int8, a scale per output channel"
    else:
        bits = int(scheme[1:])
        made = with_palettes(model, dict.fromkeys(chosen, bits))
        how = f"{bits} bits, " + tables_of(model, bits)
    save_package(made, source, final)
    return replace(without_declined(layers, made), how=how)


def check_coreml_parent(source: Path, scheme: str) -> None:
    """Raise BadInput where the scheme needs a later system than the package's, or the package has several functions."""
    weights_of(read_spec(source), source / WEIGHTS)
    if scheme == "w4" and opset_of(read_spec(source)) < IOS18:
        raise BadInput(
            f"got {source.name}, which runs from iOS 17 or macOS 14 on, for w4; expected iOS 18 or macOS 15, the first "
            "with int4 per block; export it again with --deployment-target iOS18, or choose p4"
        )


def with_linear_weights(model: Any, weights: Sequence[Weight], bits: int, *, per_channel: bool = True) -> Any:
    """Return a new MLModel whose `weights` are integers with scales: 8 bits per channel or tensor, 4 bits per block."""
    coreml = import_coremltools().optimize.coreml
    shared = {"mode": "linear_symmetric", "dtype": f"int{bits}", "weight_threshold": 1}

    def config(weight: Weight) -> Any:
        if bits == 8:
            return coreml.OpLinearQuantizerConfig(**shared, granularity="per_channel" if per_channel else "per_tensor")
        inputs = weight.values.shape[input_axis(weight)]
        return coreml.OpLinearQuantizerConfig(**shared, granularity="per_block", block_size=divisor(inputs, BLOCK))

    return _compressed(coreml.linear_quantize_weights, model, {weight.name: config(weight) for weight in weights})


def with_palettes(model: Any, bits: Mapping[Weight, int]) -> Any:
    """Return a new MLModel in which each weight of `bits` has a table of 2^bits numbers, or one for each group."""
    coreml = import_coremltools().optimize.coreml
    opset = opset_of(model.get_spec())

    def config(weight: Weight, bits: int) -> Any:
        shared = {"mode": "custom", "lut_function": _table_function(bits), "weight_threshold": 1}
        group = group_of(weight, bits, opset)
        if not group:
            return coreml.OpPalettizerConfig(**shared, granularity="per_tensor")
        return coreml.OpPalettizerConfig(**shared, granularity="per_grouped_channel", group_size=group)

    configs = {weight.name: config(weight, each) for weight, each in bits.items()}
    return _compressed(coreml.palettize_weights, model, configs)


def tables_of(model: Any, bits: int) -> str:
    """Return in words how many tables a weight has."""
    if bits > GROUPED_BITS:
        return "one table a weight"
    if opset_of(model.get_spec()) < IOS18:
        return f"one table a weight: a table per {GROUP} channels needs --deployment-target iOS18"
    return f"a table per {GROUP} output channels"


def group_of(weight: Weight, bits: int, opset: int) -> int:
    """Return how many output channels share a table, 0 for all."""
    if bits > GROUPED_BITS or opset < IOS18:
        return 0
    group = divisor(weight.values.shape[output_axis(weight)], GROUP)
    return group if group > 1 else 0


def output_axis(weight: Weight) -> int:
    """Return the axis of the output channels, as coremltools sees it: 0 but for conv_transpose and matmul."""
    return {"conv_transpose": 1, "matmul": weight.values.ndim - 1}.get(weight.readers[0][0], 0)


def input_axis(weight: Weight) -> int:
    """Return the axis of the input channels."""
    return {"conv_transpose": 0, "matmul": weight.values.ndim - 2}.get(weight.readers[0][0], 1)


def divisor(size: int, most: int) -> int:
    """Return the largest number up to `most` that divides `size`: 16 of 320, 12 of 12 where `most` is 16."""
    return next(n for n in range(min(size, most), 0, -1) if size % n == 0)


def without_declined(layers: Quantized, made: Any) -> Quantized:
    """Move what coremltools left as it was among the floats: it says so only in its log."""
    function = next(iter(made.get_spec().mlProgram.functions.values()))
    operations = function.block_specializations[function.opset].operations
    left = {operation.outputs[0].name for operation in operations if operation.type == "const"} & set(layers.layers)
    declined = {shown_module(name): DECLINED for name in left}
    kept = tuple(name for name in layers.layers if name not in left)
    return replace(layers, layers=kept, floats={**layers.floats, **declined})


def _compressed(compress: Callable[..., Any], model: Any, configs: Mapping[str, Any]) -> Any:
    coreml = import_coremltools().optimize.coreml
    if not configs:
        return model
    with silenced():
        return compress(model, coreml.OptimizationConfig(op_name_configs=dict(configs)))


def _table_function(bits: int) -> Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]:
    def table(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        numbers, indices = table_from_values(values, bits)
        return numbers.astype(values.dtype), indices

    return table


def coreml_layers(source: Path) -> tuple[str, ...]:
    """Return the modules of the weights that could be quantized, most dots written as underscores."""
    weights = weights_of(read_spec(source), source / WEIGHTS)
    return tuple(shown_module(weight.name) for weight in weights if weight.module)


def coreml_weight_files(source: Path) -> tuple[Path, ...]:
    """Return every file of the package: the new one is written with them."""
    return tuple(path for path in source.rglob("*") if path.is_file())
