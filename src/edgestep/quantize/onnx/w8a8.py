"""Float ONNX -> ONNX whose Conv, MatMul and Gemm compute in integers: weights per channel, activations per tensor.

What a one-step generator needs that a classifier does not: the table of what stays float, the start token apart from
the words, a scale for each branch of a skip concatenation and for each channel that a convolution gives, weights and
biases whose errors cancel. Residuals and skips are never rounded.

Weights use 7 of the 8 bits unless told otherwise. With all 8, a CPU without VNNI adds two products of u8 x s8 in 16
bits, which saturate: the same file would be worse there and not elsewhere.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgestep.artifact import BadInput, inside
from edgestep.quantize.floats import STAYS_FLOAT, Quantized, StaysFloat, layers_named, module_path
from edgestep.quantize.onnx.activation_ranges import channel_ranges, ranges_from_feeds
from edgestep.quantize.onnx.bos import split_start_tokens
from edgestep.quantize.onnx.concat_scales import split_concatenations
from edgestep.quantize.onnx.correction import correct, float_graph
from edgestep.quantize.onnx.editing import Graph
from edgestep.quantize.onnx.integer_types import A16, IntegerTypes, types_named
from edgestep.quantize.onnx.large_channels import split_large_channels
from edgestep.quantize.onnx.observed import Feed
from edgestep.quantize.onnx.qdq import Pairs, quantized_tensors, steps_of_channels, whole_outputs
from edgestep.quantize.onnx.saturation import saturation_of
from edgestep.quantize.onnx.smooth import smooth
from edgestep.quantize.ranges import range_named

OPERATIONS = ("Conv", "MatMul", "Gemm")
EXTERNAL_ABOVE = 1_500_000_000
"""A protobuf ends at 2 GB: of a float model that is larger, the quantized one keeps its weights beside it."""

CONCATENATIONS, START_TOKENS = STAYS_FLOAT[4:6]
"""The rows whose layers become integers after all where the graph can be rewritten so that the reason is gone."""

WEIGHTS_ALONE = re.compile(
    r"\.ff\.net\.2$|\.proj_(in|out)$|\.attn\d\.to_[qkv]$|\.down_blocks\..*\.conv_shortcut$|samplers\.\d+\.conv$"
)
"""Layers whose weights become int8 and whose input does not. Most read the residual stream itself, whose range a few
channels set: what enters and leaves a transformer, what changes the resolution or the channels; `ff.net.2` reads a
GEGLU's product, queries and keys go into a softmax.

The bundled generator's worst picture of 64, fused, is at 36.1 dB, with the first of these alone at 33.1.
"""


def quantize_onnx_w8a8(
    source: Path,
    final: Path,
    feeds: Sequence[Feed],
    table: Sequence[StaysFloat] = STAYS_FLOAT,
    *,
    types: str = "u8s7",
    range_rule: str = "minmax",
    smoothing: bool = False,
) -> Quantized:
    """Write the quantized model to `final`; return which layers it is.

    `feeds` are what this graph was fed in real drawings. `types`, a name of `integer_types.TYPES`, and `range_rule`,
    one of `ranges.RANGES`, say what to round to and how a range is chosen. `smoothing` (SmoothQuant) moves scales from
    channels into the norms before them, which then differ from PyTorch's in a bisection. Raises BadInput for other
    names, for NaN inside the graph, and where the layers have no module names: nothing would then keep conv_in and
    conv_out float.
    """
    return _quantize(source, final, feeds, table, types_named(types), range_rule, smoothing)


def quantize_onnx_a16w8(
    source: Path,
    final: Path,
    feeds: Sequence[Feed],
    table: Sequence[StaysFloat] = STAYS_FLOAT,
    *,
    range_rule: str = "minmax",
    smoothing: bool = False,
) -> Quantized:
    """Write the model with uint16 activations and int8 weights, as phone NPUs take it; see `quantize_onnx_w8a8`."""
    return _quantize(source, final, feeds, table, A16, range_rule, smoothing)


@dataclass
class _Plan:
    """The layers of a graph while it is being rewritten."""

    whole: list[str]
    weights_alone: list[str]
    floats: dict[str, str]
    told: list[str]


def _quantize(
    source: Path,
    final: Path,
    feeds: Sequence[Feed],
    table: Sequence[StaysFloat],
    types: IntegerTypes,
    range_rule: str,
    smoothing: bool,
) -> Quantized:
    onnx = _package()
    range_named(range_rule)
    graph = Graph(onnx.load(source))
    large = sum(len(tensor.raw_data) for tensor in graph.graph.initializer) > EXTERNAL_ABOVE
    plan = _parted(source, graph, table)
    _rewrite(graph, plan, feeds, smoothing)
    ranges = ranges_from_feeds(graph, quantized_tensors(graph, plan.whole), feeds, range_rule, types)
    warning = saturation_of(graph, plan.whole, ranges, feeds, types).warning
    outputs = channel_ranges(graph, whole_outputs(graph, plan.whole), feeds)
    channels = {name: steps_of_channels(*found, types) for name, found in outputs.items()}
    pairs, floats = Pairs(graph, ranges, types, channels), float_graph(graph)
    pairs.add_to_activations(plan.whole)
    corrected = correct(graph, floats, plan.whole, plan.weights_alone, feeds, types)
    pairs.add_to_weights(plan.whole, plan.weights_alone, corrected.integers)
    onnx.save_model(graph.model, final, save_as_external_data=large, location=f"{final.name}.data")
    told = [
        f"{types.activation} activations ({range_rule}), {types.weight} weights of {types.bits} bits",
        *plan.told,
        f"{corrected.by_gptq} by GPTQ, {len(corrected.biases)} biases corrected",
        f"exact on {types.exact_on}, judged on ONNX Runtime's CPU",
    ]
    return Quantized((*plan.whole, *plan.weights_alone), plan.floats, "; ".join(told), warning)


def _parted(source: Path, graph: Graph, table: Sequence[StaysFloat]) -> _Plan:
    layers = layers_named(source, (node.name for node in graph.graph.node if node.op_type in OPERATIONS), table)
    alone = [name for name in layers.layers if WEIGHTS_ALONE.search(module_path(name))]
    return _Plan([name for name in layers.layers if name not in alone], alone, dict(layers.floats), [])


def _rewrite(graph: Graph, plan: _Plan, feeds: Sequence[Feed], smoothing: bool) -> None:
    """Make the same function of operations that 8 bits hurt less."""
    tokens = split_start_tokens(graph, _kept_for(plan, START_TOKENS), feeds)
    branches = split_concatenations(graph, _kept_for(plan, CONCATENATIONS))
    plan.whole += [*tokens, *branches]
    plan.floats = {name: reason for name, reason in plan.floats.items() if name not in {*tokens, *branches}}
    smoothed = smooth(graph, plan.whole, feeds) if smoothing else ()
    large = split_large_channels(graph, [*plan.whole, *plan.weights_alone], feeds)
    plan.told += [f"start token apart in {len(tokens)} layers"] if tokens else []
    plan.told += [f"{len(branches)} branches of concatenations with a scale each"] if branches else []
    plan.told += [f"{len(smoothed)} layers smoothed"] if smoothed else []
    plan.told += [f"large channels divided in front of {len(large)} layers"] if large else []
    plan.told += [f"{len(plan.weights_alone)} with int8 weights alone"] if plan.weights_alone else []


def _kept_for(plan: _Plan, row: StaysFloat) -> set[str]:
    return {name for name, reason in plan.floats.items() if reason == row.reason}


def onnx_layers(source: Path) -> tuple[str, ...]:
    """Return the names of the operations that could be quantized."""
    nodes = _package().load(source, load_external_data=False).graph.node
    return tuple(node.name for node in nodes if node.op_type in OPERATIONS)


def onnx_weight_files(source: Path) -> tuple[Path, ...]:
    """Return the .onnx file and the files beside it that hold its weights; BadInput where one lies elsewhere."""
    model = _package().load(source, load_external_data=False)
    locations = {
        entry.value for tensor in model.graph.initializer for entry in tensor.external_data if entry.key == "location"
    }
    return (source, *(inside(source.parent, location) for location in sorted(locations)))


def _package() -> Any:
    try:
        import onnx
    except ImportError as error:
        raise BadInput("got no onnx; INT8 of ONNX needs it; pip install 'edgestep[export]'") from error
    return onnx
