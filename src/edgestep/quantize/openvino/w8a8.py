"""Float OpenVINO IR -> IR with FakeQuantize before Convolution, by NNCF, and int8 weights alone for MatMul and Gather.

The activations in front of a MatMul have no fixed range: a convolution's channels have ranges alike, those of a linear
layer differ. They stay float, or are rounded as they come, 32 to a scale, where the processor multiplies integers.
Emoji, 64 cases, image PSNR (worst, median), only the UNet quantized: MatMul too with SmoothQuant 24.0, 33.3 dB, without
34.0, 39.2 dB, float activations 39.3, 42.1 dB, and no slower.

Weights use 7 of the 8 bits, as in ONNX and for the same reason: a CPU without VNNI would saturate.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from edgestep.quantize.floats import STAYS_FLOAT, WEIGHTS_STAY_FLOAT, Quantized, StaysFloat, layers_named
from edgestep.quantize.openvino.joined import join_projections
from edgestep.quantize.openvino.large_channels import split_large_channels
from edgestep.quantize.openvino.narrow_upsampling import compute_before_upsampling
from edgestep.quantize.openvino.packages import nncf_package, openvino_package, quiet
from edgestep.quantize.openvino.picture_blocks import compute_in_blocks
from edgestep.quantize.openvino.saving import ROUNDED_BY, save_model
from edgestep.quantize.openvino.small_columns import lift_small_columns
from edgestep.quantize.openvino.small_products import widen_small_products
from edgestep.quantize.openvino.weight_only import replace_nearest
from edgestep.quantize.openvino.weights import weights_of
from edgestep.quantize.widths import WIDTHS

OPERATIONS = ("Convolution", "MatMul", "ScaledDotProductAttention")
"""What the control quantizes."""
NNCF_ALSO = ("Gather",)
"""Embeddings: NNCF would quantize what they give, and stumbles over one scale for the whole of one."""
STATIC = "Convolution"
ABOUT_ACTIVATIONS = tuple(row for row in STAYS_FLOAT if row not in WEIGHTS_STAY_FLOAT)
"""Rows that do not matter to a layer of which only the weight becomes INT8."""
SMALL = "its weight is small, or not a constant of its own"
AUTOMATIC = re.compile(r"[A-Za-z]+_\d+")
"""The names that OpenVINO gives: Constant_417280."""


def quantize_openvino_w8a8(
    source: Path,
    final: Path,
    feeds: Sequence[Mapping[str, np.ndarray]],
    table: Sequence[StaysFloat] = STAYS_FLOAT,
    *,
    join: bool = True,
) -> Quantized:
    """Write the quantized model to `final` (.xml) and the .bin beside it; return which layers it is.

    `feeds` are what this graph was fed in real drawings; all are used. `join` lets linear layers that read the same be
    one; without, every layer keeps an operation of its own, to be timed by its name. Raises BadInput where the layers
    have no module names: nothing would then keep conv_in and conv_out float.
    """
    openvino, nncf = openvino_package(), nncf_package()
    from nncf.quantization.range_estimator import RangeEstimatorParametersSet

    model = openvino.Core().read_model(source)
    kinds = {op.get_friendly_name(): op.get_type_name() for op in model.get_ordered_ops()}
    compute_before_upsampling(model)
    found = weights_of(model)
    convolutions = (name for name, kind in kinds.items() if kind == STATIC)
    names = dict.fromkeys([*convolutions, *found])
    layers = without_small(layers_named(source, names, [row for row in table if row not in ABOUT_ACTIVATIONS]), found)
    static = static_layers(source, [name for name in layers.layers if kinds[name] == STATIC], table)
    divided = split_large_channels(model, [found[name] for name in static], feeds)
    quantized = post_training(
        model,
        feeds,
        [name for name, kind in kinds.items() if kind in OPERATIONS + NNCF_ALSO and name not in static],
        preset=nncf.QuantizationPreset.MIXED,  # SiLU and GELU are not symmetric about 0
        model_type=nncf.ModelType.TRANSFORMER,
        # The default means the ranges over the samples: it cut off the prompt with the largest activations.
        activations_range_estimator_params=RangeEstimatorParametersSet.MINMAX,
    )
    alone = [name for name in layers.layers if name not in static]
    lifted = lift_small_columns(quantized, weights_of(quantized), alone)
    replace_nearest(quantized, weights_of(quantized), dict.fromkeys(alone, WIDTHS["w8"]))
    joined = join_projections(quantized) if join else 0
    widen_small_products(quantized)
    compute_in_blocks(quantized)
    name_by_place(quantized, kinds)
    save_model(quantized, final, rounded_by=ROUNDED_BY)
    how = f"{len(static)} with their activations, {len(alone)} by their weights alone"
    how += f", large channels of {divided} divided" if divided else ""
    how += f", small columns of {lifted} lifted" if lifted else ""
    return replace(layers, how=how + (f", {joined} joined to others that read the same" if joined else ""))


def without_small(layers: Quantized, found: Mapping[str, Any]) -> Quantized:
    """Let the layers stay float whose weights are not among those `found`."""
    small = {name: SMALL for name in layers.layers if name not in found}
    kept = tuple(name for name in layers.layers if name in found)
    return replace(layers, layers=kept, floats={**layers.floats, **small})


def static_layers(source: Path, names: Sequence[str], table: Sequence[StaysFloat]) -> tuple[str, ...]:
    """Return those that the table lets have INT8 activations; a text encoder has none to begin with."""
    return layers_named(source, names, table).layers if names else ()


def post_training(
    model: Any,
    feeds: Sequence[Mapping[str, np.ndarray]],
    kept: Sequence[str],
    *,
    preset: Any,
    model_type: Any,
    **more: Any,
) -> Any:
    """Return the model with FakeQuantize in front of all that is not `kept`; `more` are NNCF's advanced parameters."""
    nncf = nncf_package()
    with quiet():
        return nncf.quantize(
            model,
            nncf.Dataset([dict(feed) for feed in feeds]),
            preset=preset,
            subset_size=len(feeds),
            model_type=model_type,
            ignored_scope=nncf.IgnoredScope(names=list(kept)),
            advanced_parameters=nncf.AdvancedQuantizationParameters(overflow_fix=nncf.OverflowFix.ENABLE, **more),
        )


def openvino_layers(source: Path) -> tuple[str, ...]:
    """Return the names of the operations that could be quantized."""
    model = openvino_package().Core().read_model(source)
    names = [op.get_friendly_name() for op in model.get_ops() if op.get_type_name() in OPERATIONS]
    return tuple(dict.fromkeys([*names, *weights_of(model)]))


def openvino_weight_files(source: Path) -> tuple[Path, ...]:
    """Return the .xml file and its .bin."""
    return source, source.with_suffix(".bin")


def name_by_place(model: Any, known: Collection[str]) -> None:
    """Number operations by their place in the graph that OpenVINO numbered by a counter of the process.

    Same feeds, same bytes, whatever the process did before. Names among `known`, the parent's, stay.
    """
    for place, op in enumerate(model.get_ordered_ops()):
        name = op.get_friendly_name()
        if AUTOMATIC.fullmatch(name) and name not in known:
            op.set_friendly_name(f"{op.get_type_name()}_w8a8_{place}")
