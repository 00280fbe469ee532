"""Float OpenVINO IR -> IR whose weights are integers with scales; what flows between the layers stays float.

NNCF's compress_weights writes 4 bits for MatMul alone, and a generator's weights are mostly convolutions': here they
are all rounded alike, by the arithmetic that ONNX's are. In a graph with fewer bits than 8, given calibration, every
weight is rounded by GPTQ, those of 8 bits too, which take back what the others did; else to nearest.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgestep.artifact import BadInput
from edgestep.quantize.floats import WEIGHTS_STAY_FLOAT, Quantized, StaysFloat, layers_named, module_path
from edgestep.quantize.gptq import gptq
from edgestep.quantize.openvino.inferred import drop_inferred, drop_names
from edgestep.quantize.openvino.moments import has_moments, moments_of, parted
from edgestep.quantize.openvino.packages import openvino_package
from edgestep.quantize.openvino.packing import BITS, share_shape, unpacked
from edgestep.quantize.openvino.saving import save_model
from edgestep.quantize.openvino.weights import OPERATIONS, Weight, constant_of, weights_of
from edgestep.quantize.rounding import EIGHT_BITS, Rounded, rounded
from edgestep.quantize.widths import WIDTHS, Width

BLOCKS = (32, 64, 128)
BLOCK = 128
AT_8_BITS = re.compile(r"(^|\.)text_model\.|\.proj_(in|out)$|\.conv_shortcut$|(^|\.)unet\.down_blocks\.0\.attentions\.")
"""Modules that w4 gives 8 bits: few of the weights, much of the error. CLIP reads the prompt, and is small; the first
and the last block of a UNet have the fewest channels and the most pixels. ONNX's has their convolutions at 8 bits too:
here the .xml, which is seven times the size of an ONNX graph, leaves no room for them."""
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
    corrected = _round(source, model, weights, layers, feeds)
    drop_names(model)
    save_model(model, final)
    drop_inferred(final)
    return Quantized(tuple(layers), floats, _how(layers, corrected))


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
    """Return layer -> width: 4 bits, but 8 for embeddings, for AT_8_BITS and attention of a UNet's last block."""
    last = _last_block(weights)
    return {name: WIDTHS["w8" if _at_8_bits(weight, last) else f"w4-{block}"] for name, weight in weights.items()}


def _at_8_bits(weight: Weight, last: str) -> bool:
    path = module_path(weight.layer)
    return weight.operation == "Gather" or AT_8_BITS.search(path) is not None or last in path


def _last_block(layers: Iterable[str]) -> str:
    """Return the path of attention in a UNet's last block, `unet.up_blocks.2.attentions.`; no path holds -1."""
    numbers = [int(found[1]) for name in layers if (found := re.search(r"(?:^|\.)unet\.up_blocks\.(\d+)\.", name))]
    return f"unet.up_blocks.{max(numbers, default=-1)}.attentions."


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
    replace_nearest(model, weights, {name: width for name, width in layers.items() if name not in names})
    if names:
        original = openvino_package().Core().read_model(source)
        for part in parted([weights[name] for name in names]):
            for layer, moments in moments_of(original, model, part, feeds).items():
                weight, width = weights[layer], layers[layer]
                made = gptq(_matrix(model, weight), moments, width.bits, weight.block(width))
                _replace(model, weights, layer, made, width)
    return len(names)


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
    share_shape(value, ops)
    ops[layer].input(OPERATIONS[weight.operation]).replace_source_output(value)


def _op(model: Any, weight: Weight) -> Any:
    return next(op for op in model.get_ops() if op.get_friendly_name() == weight.layer)


def _how(layers: Mapping[str, Width], corrected: int) -> str:
    """Return how many layers have each width, and how many GPTQ rounded."""
    counts = {name: sum(width.name == name for width in layers.values()) for name in WIDTHS}
    said = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
    return said + (f"; {corrected} rounded by GPTQ" if corrected else "")
