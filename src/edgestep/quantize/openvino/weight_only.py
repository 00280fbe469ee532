"""Float OpenVINO IR -> IR whose weights are integers with scales; what flows between the layers stays float.

NNCF's compress_weights writes 4 bits for MatMul alone, and a generator's weights are mostly convolutions': here they
are all rounded alike, by the arithmetic that ONNX's are. In a graph with fewer bits than 8, given calibration, every
weight is rounded by GPTQ, those of 8 bits too, which take back what the others did; else to nearest.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgestep.artifact import BadInput
from edgestep.quantize.at_8_bits import layers_at_8_bits
from edgestep.quantize.floats import WEIGHTS_STAY_FLOAT, Quantized, StaysFloat, layers_named
from edgestep.quantize.gptq import gptq
from edgestep.quantize.keep_fp32 import REASON
from edgestep.quantize.openvino.inferred import drop_inferred, drop_names
from edgestep.quantize.openvino.moments import has_moments, moments_of
from edgestep.quantize.openvino.packages import openvino_package
from edgestep.quantize.openvino.packing import BITS, unpacked
from edgestep.quantize.openvino.saving import save_model
from edgestep.quantize.openvino.segments import Order, Stream
from edgestep.quantize.openvino.small_columns import lift_small_columns
from edgestep.quantize.openvino.smaller import share_constants, shorten_names, store_halves
from edgestep.quantize.openvino.weights import OPERATIONS, Weight, constant_of, weights_of
from edgestep.quantize.rounding import EIGHT_BITS, Rounded, rounded
from edgestep.quantize.widths import WIDTHS, Width

BLOCKS = (32, 64, 128)
BLOCK = 128
ALSO_AT_8_BITS, OF_LAST = r"\.attn2\.to_v$", r"(attentions|resnets\.0)\."
"""What the UNet takes from the prompt; and of its last block not the whole, as in ONNX's, for which the .xml leaves no
room: it is six times the size of an ONNX graph. Bundled generator, 64 pictures, at 0.170 of float32's bytes, worst and
median: 30.3 and 35.2 dB in the split form, 30.0 and 34.5 dB in the fused."""
UNCHOSEN = "left float by the search"
"""Why a layer stays float that no width was given for."""


def quantize_openvino_w8(
    source: Path,
    final: Path,
    feeds: Sequence[Mapping[str, np.ndarray]] = (),
    table: Sequence[StaysFloat] = WEIGHTS_STAY_FLOAT,
) -> Quantized:
    """Write the model with int8 weights, a scale per output channel; see `quantize_openvino_weights`.

    `feeds` do not matter.
    """
    del feeds
    widths = dict.fromkeys(weight_layers(source), WIDTHS["w8"])
    return quantize_openvino_weights(source, final, (), table, widths)


def quantize_openvino_w4(
    source: Path,
    final: Path,
    feeds: Sequence[Mapping[str, np.ndarray]] = (),
    table: Sequence[StaysFloat] = WEIGHTS_STAY_FLOAT,
    *,
    block_size: int = BLOCK,
) -> Quantized:
    """Write the model with int4 weights, a scale per `block_size` inputs, few of them int8: see `widths_w4`.

    Without `feeds` every weight is rounded to nearest. Raises BadInput as `quantize_openvino_weights` does, and for a
    block that is none of BLOCKS.
    """
    if block_size not in BLOCKS:
        raise BadInput(
            f"got blocks of {block_size}; expected one of {', '.join(map(str, BLOCKS))}; choose one of these"
        )
    return quantize_openvino_weights(source, final, feeds, table, widths_w4(openvino_weights(source), block_size))


def quantize_openvino_weights(
    source: Path,
    final: Path,
    feeds: Sequence[Mapping[str, np.ndarray]],
    table: Sequence[StaysFloat],
    widths: Mapping[str, Width],
) -> Quantized:
    """Write the model with smaller weights to `final` (.xml) and the .bin beside it; return which layers they are of.

    `feeds` are what this graph was fed in real drawings: with them GPTQ rounds, where a weight has less than 8 bits.
    `widths`: layer -> how its weight is stored; those that are missing stay float. `table` goes before `widths`.
    Raises BadInput where layers have no module names or none has a float weight, where a width has bits that the format
    has no type of, and where a layer is fed NaN or infinity.
    """
    openvino = openvino_package()
    model = openvino.Core().read_model(source)
    weights = weights_of(model)
    if not weights:
        raise BadInput(
            f"got {source}, which holds no float weights; expected a float model; quantize the float export, not what "
            "was made from it"
        )
    chosen = _known(source, widths, weights)
    named = layers_named(source, weights, table)
    layers = {name: chosen[name] for name in named.layers if name in chosen and not chosen[name].is_float}
    floats = dict(named.floats) | {name: UNCHOSEN for name in named.layers if name not in layers}
    lifted = lift_small_columns(model, weights, layers)
    corrected = _round(source, model, weights, layers, feeds)
    store_halves(model, weights, _halves(source, floats))
    share_constants(model)
    shorten_names(model)
    drop_names(model)
    save_model(model, final)
    drop_inferred(final)
    return Quantized(tuple(layers), floats, _how(layers, corrected, lifted))


def _halves(source: Path, floats: Mapping[str, str]) -> list[str]:
    """Return the layers that float16 is fine enough for: those that no scheme's weights touch, whatever left them
    float, but a user's word.
    """
    untouched = layers_named(source, floats, WEIGHTS_STAY_FLOAT).floats if floats else {}
    return [layer for layer in untouched if floats[layer] != REASON]


def layer_bytes(source: Path, layer: str, width: Width) -> int:
    """Return the bytes of a layer's weight at a width, without the names around it."""
    weights = openvino_weights(source)
    return weights[layer].bytes(width)


def openvino_weights(source: Path) -> dict[str, Weight]:
    """Return layer -> weight, of those that can be quantized."""
    return weights_of(openvino_package().Core().read_model(source))


def weight_layers(source: Path) -> tuple[str, ...]:
    """Return the names of the layers whose weights can be quantized."""
    return tuple(openvino_weights(source))


def widths_w4(weights: Mapping[str, Weight], block: int) -> dict[str, Width]:
    """Return layer -> width: 4 bits, but 8 for embeddings and for those of `layers_at_8_bits`."""
    eight = layers_at_8_bits(weights, also=ALSO_AT_8_BITS, of_last=OF_LAST)
    return {
        name: WIDTHS["w8" if weight.operation == "Gather" or name in eight else f"w4-{block}"]
        for name, weight in weights.items()
    }


def _known(source: Path, widths: Mapping[str, Width], weights: Mapping[str, Weight]) -> Mapping[str, Width]:
    for name, width in widths.items():
        if name not in weights:
            raise BadInput(f"got a width for {name}, which is no weight in {source}; expected one of its layers")
        if not width.is_float and width.bits not in BITS:
            raise BadInput(
                f"got the width {width.name} for {name}; expected {', '.join(map(str, BITS))} bits for OpenVINO; "
                "choose one of these"
            )
    return widths


def _round(
    source: Path,
    model: Any,
    weights: Mapping[str, Weight],
    layers: Mapping[str, Width],
    feeds: Sequence[Mapping[str, np.ndarray]],
) -> int:
    """Put integers in the place of every weight; return how many of them are corrected by GPTQ."""
    corrects = feeds and any(width.bits < EIGHT_BITS for width in layers.values())
    names = [name for name in layers if corrects and has_moments(weights[name])]
    nearest = {name: width for name, width in layers.items() if name not in names}
    replace_nearest(model, weights, nearest)
    if names:
        original = openvino_package().Core().read_model(source)
        lift_small_columns(original, weights, layers)
        targets = Stream(original, Order(original), feeds)
        inputs = Stream(model, Order(original), feeds) if nearest else targets
        for name in names:
            for stream in {id(stream): stream for stream in (targets, inputs)}.values():
                stream.advance(name)
            made = _gptq(model, weights[name], layers[name], targets, inputs)
            if inputs is targets:
                inputs = targets.forked(model)
            _replace(model, weights, name, made, layers[name])
    return len(names)


def _gptq(model: Any, weight: Weight, width: Width, targets: Stream, inputs: Stream) -> Rounded:
    layer, attributes = weight.layer, _op(model, weight).get_attributes()
    moments = moments_of(weight, attributes, targets.fed(layer), inputs.fed(layer), inputs.samples)
    return gptq(_matrix(model, weight), moments, width.bits, weight.block(width))


def replace_nearest(model: Any, weights: Mapping[str, Weight], layers: Mapping[str, Width]) -> None:
    """Put integers, rounded to nearest, in the place of the weights of `layers`."""
    for name, width in layers.items():
        weight = weights[name]
        made = rounded(_matrix(model, weight), width.bits, weight.block(width))
        _replace(model, weights, name, made, width)


def _matrix(model: Any, weight: Weight) -> np.ndarray:
    values = weight.matrix(constant_of(_op(model, weight)).get_data())
    if not np.isfinite(values).all():
        raise BadInput(
            f"got NaN or infinity in the weight of {weight.layer}; expected finite numbers; check the float artifact "
            "with 'edgestep parity' first"
        )
    return values


def _replace(model: Any, weights: Mapping[str, Weight], layer: str, made: Rounded, width: Width) -> None:
    """Put what unpacks an integer weight in the place of the float one."""
    weight = weights[layer]
    value = unpacked(weight, made, width, f"{width.name}_{list(weights).index(layer)}")
    ops = {op.get_friendly_name(): op for op in model.get_ops()}
    ops[layer].input(OPERATIONS[weight.operation]).replace_source_output(value)


def _op(model: Any, weight: Weight) -> Any:
    return next(op for op in model.get_ops() if op.get_friendly_name() == weight.layer)


def _how(layers: Mapping[str, Width], corrected: int, lifted: int) -> str:
    """Return how many layers have each width, how many GPTQ rounded, and how many had small columns."""
    counts = {name: sum(width.name == name for width in layers.values()) for name in WIDTHS}
    said = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
    said += f"; {corrected} rounded by GPTQ" if corrected else ""
    return said + (f"; small columns of {lifted} lifted" if lifted else "")
