"""Float ONNX -> ONNX with Q/DQ pairs around Conv, MatMul and Gemm: uint8 activations, int8 weights per channel.

Weights use 7 of the 8 bits. With all 8, a CPU without VNNI adds two products of u8 x s8 in 16 bits, which saturate:
the same file would lose 5 dB there and not elsewhere. uint8 weights would not, but run no faster than float.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgestep.artifact import BadInput, inside
from edgestep.quantize.floats import STAYS_FLOAT, Quantized, StaysFloat, layers_named

OPERATIONS = ("Conv", "MatMul", "Gemm")
EXTERNAL_ABOVE = 1_500_000_000
"""A protobuf ends at 2 GB: of a float model that is larger, the quantized one keeps its weights beside it."""


def quantize_onnx_w8a8(
    source: Path,
    final: Path,
    feeds: Sequence[Mapping[str, np.ndarray]],
    table: Sequence[StaysFloat] = STAYS_FLOAT,
) -> Quantized:
    """Write the quantized model to `final`; return which layers it is.

    `feeds` are what this graph was fed in real drawings. Raises BadInput where the layers have no module names: nothing
    would then keep conv_in and conv_out float.
    """
    onnx, quantization = _packages()
    model = onnx.load(source)
    layers = layers_named(source, (node.name for node in model.graph.node if node.op_type in OPERATIONS), table)
    large = sum(len(tensor.raw_data) for tensor in model.graph.initializer) > EXTERNAL_ABOVE
    # The model comes from our exporter with every shape in it; without this mark the library advises to infer them.
    quantization.quant_utils.add_pre_process_metadata(model)
    quantization.quantize_static(
        model,
        str(final),
        _Reader(feeds),
        quant_format=quantization.QuantFormat.QDQ,
        op_types_to_quantize=list(OPERATIONS),
        nodes_to_exclude=list(layers.floats),
        per_channel=True,
        reduce_range=True,
        activation_type=quantization.QuantType.QUInt8,
        weight_type=quantization.QuantType.QInt8,
        calibrate_method=quantization.CalibrationMethod.MinMax,
        use_external_data_format=large,
        extra_options={"ActivationSymmetric": False, "WeightSymmetric": True},
    )
    return layers


def onnx_layers(source: Path) -> tuple[str, ...]:
    """Return the names of the operations that could be quantized."""
    onnx, _ = _packages()
    nodes = onnx.load(source, load_external_data=False).graph.node
    return tuple(node.name for node in nodes if node.op_type in OPERATIONS)


def onnx_weight_files(source: Path) -> tuple[Path, ...]:
    """Return the .onnx file and the files beside it that hold its weights; BadInput where one lies elsewhere."""
    onnx, _ = _packages()
    model = onnx.load(source, load_external_data=False)
    locations = {
        entry.value for tensor in model.graph.initializer for entry in tensor.external_data if entry.key == "location"
    }
    return (source, *(inside(source.parent, location) for location in sorted(locations)))


class _Reader:
    """The feeds as onnxruntime's CalibrationDataReader: a protocol of get_next, called until it gives None."""

    def __init__(self, feeds: Sequence[Mapping[str, np.ndarray]]) -> None:
        self._rest: Iterator[Mapping[str, np.ndarray]] = iter(feeds)

    def __iter__(self) -> Iterator[dict[str, np.ndarray]]:
        return (dict(feed) for feed in self._rest)

    def get_next(self) -> dict[str, np.ndarray] | None:
        feed = next(self._rest, None)
        return None if feed is None else dict(feed)


def _packages() -> tuple[Any, Any]:
    try:
        import onnx
        from onnxruntime import quantization
    except ImportError as error:
        raise BadInput(f"got no {error.name}; w8a8 of ONNX needs it; pip install 'edgestep[export]'") from error
    return onnx, quantization
