"""Float ONNX -> ONNX in INT8 as onnxruntime's quantizer makes it when nobody takes care: the control of every scheme.

One scale for a whole weight and one for a whole activation, each from the smallest and largest value; no layer is left
out. uint8 on both sides never saturates: what is measured is the rounding alone.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgestep.artifact import BadInput
from edgestep.quantize.floats import Quantized, StaysFloat
from edgestep.quantize.onnx.editing import Graph
from edgestep.quantize.onnx.observed import Feed, observe
from edgestep.quantize.onnx.qdq import quantized_tensors
from edgestep.quantize.onnx.w8a8 import EXTERNAL_ABOVE, OPERATIONS


def quantize_onnx_naive(
    source: Path, final: Path, feeds: Sequence[Feed], table: Sequence[StaysFloat] = ()
) -> Quantized:
    """Write the quantized model to `final`; return its layers: all, whatever `table` says.

    Raises BadInput for NaN inside the graph, as w8a8 does.
    """
    del table
    onnx, quantization = _packages()
    model = onnx.load(source)
    layers = tuple(node.name for node in model.graph.node if node.op_type in OPERATIONS)
    observe(model, quantized_tensors(Graph(model), layers), feeds, lambda _, __: None)
    large = sum(len(tensor.raw_data) for tensor in model.graph.initializer) > EXTERNAL_ABOVE
    # The model comes from our exporter with every shape in it; without this mark the library advises to infer them.
    quantization.quant_utils.add_pre_process_metadata(model)
    quantization.quantize_static(
        model,
        str(final),
        _Reader(feeds),
        quant_format=quantization.QuantFormat.QDQ,
        op_types_to_quantize=list(OPERATIONS),
        per_channel=False,
        activation_type=quantization.QuantType.QUInt8,
        weight_type=quantization.QuantType.QUInt8,
        calibrate_method=quantization.CalibrationMethod.MinMax,
        use_external_data_format=large,
    )
    return Quantized(layers, {}, "naive: a scale for each tensor, minmax, nothing left out")


class _Reader:
    """The feeds as onnxruntime's CalibrationDataReader: a protocol of get_next, called until it gives None."""

    def __init__(self, feeds: Sequence[Feed]) -> None:
        self._rest = iter(feeds)

    def get_next(self) -> dict[str, Any] | None:
        feed = next(self._rest, None)
        return None if feed is None else dict(feed)


def _packages() -> tuple[Any, Any]:
    try:
        import onnx
        from onnxruntime import quantization
    except ImportError as error:
        raise BadInput(f"got no {error.name}; INT8 of ONNX needs it; pip install 'edgestep[export]'") from error
    return onnx, quantization
