"""An ONNX model, float32 -> an OpenVINO IR, with its weights in float32, or in float16 with a Convert behind each.

From ONNX, not from torch: the IR's operations then carry the same module names, `unet.conv_out/Conv`, that quantization
and bisection go by. Arithmetic is whatever the device is asked for; a float16 IR only stores its weights so.

OpenVINO keeps every constant in memory until the IR is saved. The graph is handed over without its weights, as if they
were inputs, and each becomes a constant of its final type when it is read: no weight is in memory twice, no second file
holds them, and a float16 IR takes half the memory.
"""

import tempfile
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from edgestep.artifact import BadInput
from edgestep.export.onnx.lazy import detached, is_lazy
from edgestep.export.onnx.write import share_equal_weights
from edgestep.export.openvino.bare_norms import bare_norms

EDGES = ("unet.conv_in", "unet.conv_out")
"""Stay float32, as in export/onnx/half.py."""
SUFFIX = "/compressed"
LARGEST = float(np.finfo(np.float16).max)


def openvino_from_onnx(model: Any, precision: str) -> Any:
    """Return an openvino.Model of an onnx_ir.Model; shapes are static, so everything about shapes is folded away."""
    try:
        from openvino.passes import ConstantFolding, Manager
    except ImportError as error:
        raise BadInput("got no openvino; exporting to it needs: pip install 'edgestep[openvino]'") from error
    share_equal_weights(model)
    weights = {name: value.const_value for name, value in model.graph.initializers.items() if is_lazy(value)}
    with detached(model):
        converted = _read(model)
    passes = Manager()
    passes.register_pass(ConstantFolding())
    for wide in (False, True):
        for parameter in converted.get_parameters():
            name = parameter.get_friendly_name()
            if name in weights and _is_wide(parameter) == wide:
                _put_weight(converted, parameter, weights[name].numpy(), half=wide and precision == "fp16")
        if not wide:
            passes.run_passes(converted)  # while what it would undo is not there yet: the Converts behind the weights
            bare_norms(converted)
    converted.validate_nodes_and_infer_types()
    return converted


def _read(model: Any) -> Any:
    """Return the openvino.Model of a graph without large weights; names of its inputs are theirs."""
    import onnx_ir as ir
    import openvino

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        # From a file: from bytes, and by convert_model, the unused timestep would be dropped.
        file = Path(scratch) / "model.onnx"
        file.write_bytes(ir.serde.serialize_model(model).SerializeToString())
        return openvino.Core().read_model(file)


def _is_wide(parameter: Any) -> bool:
    """Tell whether a weight has two or more real dimensions; biases, norms and the formula stay float32."""
    return sum(size > 1 for size in parameter.get_partial_shape().to_shape()) >= 2


def _put_weight(model: Any, parameter: Any, array: np.ndarray, *, half: bool) -> None:
    """Put a constant where a parameter is: in float16 with a Convert behind it, where `half` and float16 holds it."""
    from openvino import opset13

    name = parameter.get_friendly_name()
    # Taken before the parameter goes: with it goes the list.
    readers = list(parameter.output(0).get_target_inputs())
    half = half and not name.startswith(EDGES) and bool(np.abs(array).max() <= LARGEST)
    placed = opset13.constant(array.astype(np.float16) if half else array)
    placed.set_friendly_name(name + SUFFIX if half else name)
    if half:
        placed = opset13.convert(placed, "f32")
        placed.set_friendly_name(name)
    for reader in readers:
        reader.replace_source_output(placed.output(0))
    model.remove_parameter(parameter)


def save_openvino(model: Any, path: Path) -> None:
    """Write `<path>` and the .bin beside it."""
    import openvino

    path.parent.mkdir(parents=True, exist_ok=True)
    openvino.save_model(model, path, compress_to_fp16=False)
    _mark_decompression(path)


def _mark_decompression(path: Path) -> None:
    """Mark those Converts as decompression, so that plugins and NNCF keep them; openvino cannot from Python."""
    tree = ElementTree.parse(path)  # our own file, written a moment ago
    layers = tree.getroot().find("layers")
    assert layers is not None
    compressed = {str(layer.get("name")).removesuffix(SUFFIX) for layer in layers if _is_compressed(layer)}
    for layer in layers:
        if layer.get("type") == "Convert" and layer.get("name") in compressed:
            info = ElementTree.Element("rt_info")
            ElementTree.SubElement(info, "attribute", {"name": "decompression", "version": "0"})
            layer.insert(1, info)
    tree.write(path, encoding="utf-8", xml_declaration=True)


def _is_compressed(layer: ElementTree.Element) -> bool:
    return layer.get("type") == "Const" and str(layer.get("name")).endswith(SUFFIX)
