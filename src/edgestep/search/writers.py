"""Format and widths -> what writes a graph with some layers changed, and which layers that can be."""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from edgestep.artifact import BadInput
from edgestep.quantize.floats import StaysFloat, module_path
from edgestep.quantize.onnx.w8a8 import onnx_layers, quantize_onnx_w8a8
from edgestep.quantize.onnx.weight_only import quantize_onnx_weights
from edgestep.quantize.onnx.weights import weights_of
from edgestep.quantize.openvino.w8a8 import openvino_layers, quantize_openvino_w8a8
from edgestep.quantize.openvino.weight_only import openvino_weights, quantize_openvino_weights
from edgestep.quantize.widths import WIDTHS
from edgestep.search.trials import W8A8

Feed = Mapping[str, np.ndarray]
ALONE = "not of this trial"


@dataclass(frozen=True)
class Layer:
    """What can be at another width: its name, and the shape of its weight, () where it has none or that is unknown.

    `axis` is the one of the weight's inputs, as `edgestep.quantize.widths.bytes_of` takes it.
    """

    name: str
    shape: tuple[int, ...] = ()
    axis: int = 1


@dataclass(frozen=True)
class Writer:
    """`write(source, final, feeds, widths)` writes a graph with `widths`, layer -> width name; the rest stays float.

    `layers(source)` is what it can change.
    """

    write: Callable[[Path, Path, Sequence[Feed], Mapping[str, str]], Any]
    layers: Callable[[Path], tuple[Layer, ...]]


def writer_for(form: str, widths: Collection[str]) -> Writer:
    """Return the writer of these widths; raise BadInput where the format has none, or they do not go together."""
    kinds = {width == W8A8 for width in widths}
    if len(kinds) != 1 or unknown_width(widths):
        raise BadInput(
            f"got the widths {', '.join(sorted(widths))}; expected {W8A8} alone, or some of {known_widths()}"
        )
    if (form, kinds == {True}) not in WRITERS:
        known = " and ".join(sorted({known for known, _ in WRITERS}))
        raise BadInput(
            f"got an artifact of format {form}; expected {known}; 'edgestep quantize --scheme mixed --mean-bits' is "
            "Core ML's own search"
        )
    return WRITERS[form, kinds == {True}]


def known_widths() -> str:
    """Return the names of the widths of weights, as a list to read."""
    return ", ".join(name for name, width in WIDTHS.items() if not width.is_float)


def unknown_width(widths: Collection[str]) -> str:
    """Return the first that is no width a layer can be given, "" where all are."""
    return next((w for w in widths if w != W8A8 and (w not in WIDTHS or WIDTHS[w].is_float)), "")


def rows_but(modules: Collection[str]) -> tuple[StaysFloat, ...]:
    """Return a table that keeps every module float but these."""
    return (StaysFloat(rf"^(?!(?:{'|'.join(re.escape(module) for module in sorted(modules))})$)", ALONE),)


def _modules(layers: Callable[[Path], tuple[str, ...]]) -> Callable[[Path], tuple[Layer, ...]]:
    """Return what lists the modules of a graph, each once; what has lost its name cannot be tried."""
    return lambda source: tuple(Layer(path) for path in dict.fromkeys(map(module_path, layers(source))) if path)


def _with_activations(quantize: Callable[..., Any]) -> Callable[..., Any]:
    return lambda source, final, feeds, widths: quantize(source, final, feeds, rows_but(widths))


def _weights_of_onnx(source: Path) -> tuple[Layer, ...]:
    import onnx

    found = weights_of(onnx.load(source, load_external_data=False))
    return tuple(Layer(weight.layer, weight.shape, weight.axis) for weight in found)


def _weights_of_openvino(source: Path) -> tuple[Layer, ...]:
    return tuple(Layer(weight.layer, weight.shape, weight.axis) for weight in openvino_weights(source).values())


def _weights_alone(quantize: Callable[..., Any]) -> Callable[..., Any]:
    return lambda source, final, feeds, widths: quantize(
        source, final, feeds, (), {layer: WIDTHS[width] for layer, width in widths.items()}
    )


WRITERS: dict[tuple[str, bool], Writer] = {
    ("onnx", True): Writer(_with_activations(quantize_onnx_w8a8), _modules(onnx_layers)),
    ("onnx", False): Writer(_weights_alone(quantize_onnx_weights), _weights_of_onnx),
    ("openvino", True): Writer(
        _with_activations(partial(quantize_openvino_w8a8, join=False)), _modules(openvino_layers)
    ),
    ("openvino", False): Writer(_weights_alone(quantize_openvino_weights), _weights_of_openvino),
}
"""(format, whether activations are quantized too) -> writer."""
