"""Float ML Program -> ML Program with quantize/dequantize pairs before conv and linear, and int8 weights.

coremltools' own activation quantization runs the model, which needs a Mac. Here an evaluator is handed in that says
what flows where; the pairs are what coremltools would write, one for all layers that read the same value.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from edgestep.mlpackage.layout import WEIGHTS
from edgestep.mlpackage.tools import import_coremltools, silenced
from edgestep.quantize.coreml.activation_ranges import Range, ranges_from_feeds
from edgestep.quantize.coreml.evaluated import Evaluate, Feed, required
from edgestep.quantize.coreml.package import IOS17, open_package, save_package
from edgestep.quantize.coreml.weight_only import with_linear_weights, without_declined
from edgestep.quantize.coreml.weights import Weight, parted, weights_of
from edgestep.quantize.floats import STAYS_FLOAT, Quantized, StaysFloat

LAYERS = ("conv", "conv_transpose", "linear")
"""Operations whose input becomes int8; of an embedding the weight alone does."""


def quantize_coreml_w8a8(
    source: Path,
    final: Path,
    feeds: Sequence[Feed],
    table: Sequence[StaysFloat] = STAYS_FLOAT,
    *,
    evaluate: Evaluate | None = None,
) -> Quantized:
    """Write the quantized .mlpackage to `final`; return which layers it is.

    `feeds` are what this graph was fed in real drawings; all are used. Activations int8 per tensor, not
    symmetric, weights int8 per output channel.
    """
    return _quantize(source, final, feeds, table, required(evaluate, "w8a8"))


def quantize_coreml_naive(
    source: Path,
    final: Path,
    feeds: Sequence[Feed],
    table: Sequence[StaysFloat] = (),
    *,
    evaluate: Evaluate | None = None,
) -> Quantized:
    """Write the control of `quantize_coreml_w8a8`: a scale for each whole weight, no layer left out; `table` is not
    looked at."""
    del table
    return _quantize(source, final, feeds, (), required(evaluate, "naive_w8a8"), per_channel=False)


def _quantize(
    source: Path,
    final: Path,
    feeds: Sequence[Feed],
    table: Sequence[StaysFloat],
    evaluate: Evaluate,
    *,
    per_channel: bool = True,
) -> Quantized:
    model = open_package(source)
    spec = model.get_spec()
    weights = weights_of(spec, source / WEIGHTS)
    layers = parted(weights, table) if per_channel else Quantized(tuple(weight.name for weight in weights), {})
    chosen = [weight for weight in weights if weight.name in set(layers.layers)]
    read = layer_inputs(spec, chosen)
    with evaluate(source) as opened:
        ranges = ranges_from_feeds(opened, _shapes(spec, set(read.values())), feeds)
    made = with_linear_weights(with_pairs(model, read, ranges), chosen, bits=8, per_channel=per_channel)
    save_package(made, source, final)
    each = "channel" if per_channel else "tensor"
    how = f"int8 weights per {each}, {len(ranges)} values int8 for {len(read)} of the layers"
    return replace(without_declined(layers, made), how=how)


def layer_inputs(spec: Any, weights: Sequence[Weight]) -> dict[str, str]:
    """Return for each layer of the weights, by the name of its output, the value that it reads."""
    names = {reader for weight in weights for kind, reader in weight.readers if kind in LAYERS}
    found = {}
    for operation in _operations(spec):
        if operation.outputs and operation.outputs[0].name in names:
            found[operation.outputs[0].name] = operation.inputs["x"].arguments[0].name
    return found


def with_pairs(model: Any, read: Mapping[str, str], ranges: Mapping[str, Range]) -> Any:
    """Return a new MLModel in which each layer of `read` reads its value through a quantize/dequantize pair."""
    import_coremltools()
    from coremltools.converters.mil.mil.passes.graph_pass import AbstractGraphPass
    from coremltools.models.utils import _apply_graph_pass

    class Pairs(AbstractGraphPass):
        def apply(self, prog: Any) -> None:
            for function in prog.functions.values():
                _insert_pairs(function, read, ranges)

    with silenced():
        return _apply_graph_pass(model, Pairs(), spec_version=IOS17, skip_model_load=True)


def _insert_pairs(block: Any, read: Mapping[str, str], ranges: Mapping[str, Range]) -> None:
    pairs: dict[str, Any] = {}
    with block:
        for operation in list(block.operations):
            name = operation.outputs[0].name if operation.outputs else ""
            if name in read:
                if read[name] not in pairs:
                    pairs[read[name]] = _pair(operation, ranges[read[name]])
                operation.set_inputs(x=pairs[read[name]])


def _pair(operation: Any, found: Range) -> Any:
    from coremltools.converters.mil.mil import Builder as mb
    from coremltools.converters.mil.mil import types

    value = operation.inputs["x"]
    dtype = types.nptype_from_builtin(value.dtype)
    scale, zero = scale_and_zero(found, dtype)
    shared = {"scale": scale, "zero_point": zero}
    quantized = mb.quantize(input=value, output_dtype="int8", name=f"{value.name}_int8", before_op=operation, **shared)
    return mb.dequantize(input=quantized, name=f"{value.name}_from_int8", before_op=operation, **shared)


def scale_and_zero(found: Range, dtype: Any) -> tuple[Any, np.int8]:
    """Return the step between levels, in the value's own type, and the level of -128 to 127 that is exactly 0."""
    smallest = np.finfo(dtype).tiny
    scale = max((found.high - found.low) / 255, float(smallest))
    return dtype(scale), np.int8(np.clip(round(-found.low / scale) - 128, -128, 127))


def _shapes(spec: Any, names: set[str]) -> dict[str, tuple[int, ...]]:
    function = next(iter(spec.mlProgram.functions.values()))
    made = [*function.inputs, *(output for operation in _operations(spec) for output in operation.outputs)]
    sizes = {value.name: value.type.tensorType.dimensions for value in made if value.name in names}
    return {name: tuple(size.constant.size for size in shape) for name, shape in sizes.items()}


def _operations(spec: Any) -> Any:
    function = next(iter(spec.mlProgram.functions.values()))
    return function.block_specializations[function.opset].operations
