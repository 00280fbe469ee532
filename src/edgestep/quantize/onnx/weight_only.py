"""Float ONNX -> ONNX whose weights are integers with scales; everything is computed in float as before.

`w8` needs no calibration and holds one weight at a time in memory. In a graph with fewer bits, given calibration, every
weight is corrected: the layers are rounded in the order of the graph, each by what those in front of it now really give
(see gptq.py), those of 8 bits too, which take back what the others did. Bundled generator, worst and median picture of
64, at 0.166 of float32's bytes: 31.0 and 35.1 dB with 256 of its own prompts, 26.9 and 31.9 dB with 48. All weights at
4 bits and rounded to nearest: 22.9 and 26.6 dB.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from edgestep.artifact import BadInput
from edgestep.quantize.at_8_bits import layers_at_8_bits
from edgestep.quantize.floats import WEIGHTS_STAY_FLOAT, Quantized, StaysFloat, layers_named
from edgestep.quantize.gptq import gptq
from edgestep.quantize.onnx.moments import has_moments, moments_of
from edgestep.quantize.onnx.packing import Packed, lying, opset_for, packed
from edgestep.quantize.onnx.rewritten import write_rewritten
from edgestep.quantize.onnx.segments import Feed, Stream, advance
from edgestep.quantize.onnx.small_columns import lift_small_columns
from edgestep.quantize.onnx.weights import Initializers, Weight, weights_of
from edgestep.quantize.rounding import EIGHT_BITS, Rounded, rounded
from edgestep.quantize.widths import WIDTHS, Width

BLOCKS = (32, 64, 128)
BLOCK = 64
CHOSEN = "left float by the search"


def quantize_onnx_w8(
    source: Path, final: Path, feeds: Sequence[Feed] = (), table: Sequence[StaysFloat] = WEIGHTS_STAY_FLOAT
) -> Quantized:
    """Write the model with int8 weights, a scale per output channel, to `final`; return which layers they are.

    `feeds` do not matter. Raises BadInput where the layers have no module names, or the graph no weights.
    """
    del feeds
    widths = dict.fromkeys(onnx_weight_layers(source), WIDTHS["w8"])
    return quantize_onnx_weights(source, final, (), table, widths)


def quantize_onnx_w4(
    source: Path,
    final: Path,
    feeds: Sequence[Feed] = (),
    table: Sequence[StaysFloat] = WEIGHTS_STAY_FLOAT,
    *,
    block_size: int = BLOCK,
) -> Quantized:
    """Write the model with int4 weights, a scale per `block_size` inputs, to `final`; return which layers they are.

    The few layers that lose most are int8, see `widths_w4`. `feeds` are what this graph was fed in real drawings;
    without them every weight is rounded to nearest. Raises BadInput as `quantize_onnx_w8` does, for a block that is
    none of BLOCKS, and where a layer is fed NaN or infinity.
    """
    if block_size not in BLOCKS:
        raise BadInput(
            f"got blocks of {block_size}; expected one of {', '.join(map(str, BLOCKS))}; choose one of these"
        )
    widths = widths_w4(weights_of(_loaded(source)), block_size)
    return quantize_onnx_weights(source, final, feeds, table, widths)


def widths_w4(weights: Sequence[Weight], block: int) -> dict[str, Width]:
    """Return layer -> width: 4 bits, but 8 for embeddings and for those of `layers_at_8_bits`."""
    eight = layers_at_8_bits(weight.layer for weight in weights)
    return {
        weight.layer: WIDTHS["w8" if weight.operation == "Gather" or weight.layer in eight else f"w4-{block}"]
        for weight in weights
    }


def quantize_onnx_weights(
    source: Path,
    final: Path,
    feeds: Sequence[Feed],
    table: Sequence[StaysFloat],
    widths: Mapping[str, Width],
) -> Quantized:
    """Write the model, each layer's weight in the width that `widths` has for its name, to `final`.

    A layer that `table` leaves float, or that `widths` does not name, stays as it was. `feeds` are what this graph was
    fed in real drawings: with them the rounding is corrected, without them it is to nearest. Same input, same bytes.
    """
    model = _loaded(source)
    weights, layers = _parted(source, model, table)
    chosen = [weight for weight in weights if weight.layer in set(layers.layers)]
    unchosen = {w.layer: CHOSEN for w in chosen if w.layer not in widths or widths[w.layer].is_float}
    chosen = [weight for weight in chosen if weight.layer not in unchosen]
    lifted = lift_small_columns(model, Initializers(source, model), chosen)
    initializers = Initializers(source, model, lifted)
    names = {weight.name for weight in chosen}
    chosen = [weight for weight in weights_of(model) if weight.name in names]  # their places are others now
    work = _Work(model, initializers, {weight.name: widths[weight.layer] for weight in chosen}, lifted=len(lifted))
    made = work.corrected(chosen, feeds) if feeds and work.needs_correction else work.nearest(chosen)
    opset = max((opset_for(width) for width in work.widths.values()), default=0)
    write_rewritten(model, initializers, final, made, opset=opset)
    kept = tuple(name for name in layers.layers if name not in unchosen)
    return replace(layers, layers=kept, floats={**layers.floats, **unchosen}, how=work.how)


def onnx_weight_layers(source: Path) -> tuple[str, ...]:
    """Return the names of the layers whose weights could be quantized, in the order in which the graph reads them."""
    return tuple(weight.layer for weight in weights_of(_loaded(source)))


def layer_bytes(source: Path, layer: str, width: Width) -> int:
    """Return the bytes of one layer's weight in a width, scales included, names and nodes not."""
    for weight in weights_of(_loaded(source)):
        if weight.layer == layer:
            return weight.bytes(width)
    raise BadInput(f"got {layer!r}, which is no layer of {source}; expected one of its layers with weights")


def _parted(source: Path, model: Any, table: Sequence[StaysFloat]) -> tuple[tuple[Weight, ...], Quantized]:
    weights = weights_of(model)
    if not weights:
        raise BadInput(
            f"got {source}, which holds no float weights; expected a float model; quantize the float export, not what "
            "was made from it"
        )
    return weights, layers_named(source, (weight.layer for weight in weights), table)


@dataclass
class _Work:
    """One graph's weights being rounded; `widths` by the constant's name. `ways` counts what was done, for notes."""

    model: Any
    initializers: Initializers
    widths: Mapping[str, Width]
    ways: Counter[str] = field(default_factory=Counter)
    lifted: int = 0

    @property
    def needs_correction(self) -> bool:
        return any(width.bits < EIGHT_BITS for width in self.widths.values())

    @property
    def how(self) -> str:
        """Return in words what was done: widths, and how many layers were corrected."""
        names = Counter(width.name for width in self.widths.values())
        widths = (f"{count} of {name}" for name, count in names.items())
        columns = [f"small columns of {self.lifted} lifted"] if self.lifted else []
        return ", ".join([*widths, *(f"{count} {way}" for way, count in self.ways.items()), *columns])

    def nearest(self, weights: Sequence[Weight]) -> Iterator[tuple[str, Packed]]:
        """Yield each weight, rounded to nearest."""
        for weight in weights:
            yield self._packed(weight, self._nearest(weight))

    def corrected(self, weights: Sequence[Weight], feeds: Sequence[Feed]) -> Iterator[tuple[str, Packed]]:
        """Yield each weight, rounded by what its layer is fed once those in front of it are rounded."""
        now: dict[str, np.ndarray] = {}
        constant = self.initializers.array
        targets = Stream(self.model, feeds, constant)
        inputs = Stream(self.model, feeds, lambda name: now[name] if name in now else constant(name))
        for weight in sorted(weights, key=lambda weight: weight.node):
            if not has_moments(weight, self.model.graph.node[weight.node]):
                made = self._nearest(weight)
            else:
                made = self._gptq(weight, targets, inputs)
            now = {name: values for name, values in now.items() if inputs.reads_later(name)}
            now[weight.name] = lying(weight, made.values).astype(constant(weight.name).dtype)
            yield self._packed(weight, made)

    def _nearest(self, weight: Weight) -> Rounded:
        width = self.widths[weight.name]
        self.ways["rounded to nearest"] += 1
        return rounded(self._matrix(weight), width.bits, weight.block(width))

    def _gptq(self, weight: Weight, targets: Stream, inputs: Stream) -> Rounded:
        node, width = self.model.graph.node[weight.node], self.widths[weight.name]
        advance(dict.fromkeys((targets, inputs), weight.node))
        t, x = (stream.values(node.input[0], weight.layer) for stream in (targets, inputs))
        moments = moments_of(weight, node, t, x, inputs.samples)
        self.ways["by GPTQ"] += 1
        return gptq(self._matrix(weight), moments, width.bits, weight.block(width))

    def _matrix(self, weight: Weight) -> np.ndarray:
        values = weight.matrix(self.initializers.array(weight.name)).astype(np.float32, copy=False)
        if not np.isfinite(values).all():
            raise BadInput(
                f"got NaN or infinity in the weight of {weight.layer}; expected finite numbers; check the float "
                "artifact with 'edgestep parity' first"
            )
        return values

    def _packed(self, weight: Weight, made: Rounded) -> tuple[str, Packed]:
        place = list(self.widths).index(weight.name)
        return weight.name, packed(weight, made, self.widths[weight.name], f"w{place}/")


def _loaded(source: Path) -> Any:
    try:
        import onnx
    except ImportError as error:
        raise BadInput(f"got no {error.name}; quantizing ONNX needs it; pip install 'edgestep[export]'") from error
    return onnx.load(source, load_external_data=False)
