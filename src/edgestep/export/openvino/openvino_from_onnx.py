"""An ONNX model, float32 -> an OpenVINO IR, with its weights in float32, or in float16 with a Convert behind each.

From ONNX, not from torch: the IR's operations then carry the same module names, `unet.conv_out/Conv`, that quantization
and bisection go by. Arithmetic is whatever the device is asked for; a float16 IR only stores its weights so.
"""

import tempfile
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from edgestep.artifact import BadInput
from edgestep.export.onnx.write import write_onnx_model

EDGES = ("unet.conv_in", "unet.conv_out")
"""Stay float32, as in export/onnx/half.py."""
SUFFIX = "/compressed"
LARGEST = float(np.finfo(np.float16).max)


def openvino_from_onnx(model: Any, precision: str) -> Any:
    """Return an openvino.Model of an onnx_ir.Model; shapes are static, so everything about shapes is folded away."""
    try:
        import openvino
        from openvino.passes import ConstantFolding, Manager
    except ImportError as error:
        raise BadInput("got no openvino; exporting to it needs: pip install 'edgestep[openvino]'") from error
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        # From a file: weights may be larger than a protobuf, and convert_model would drop the unused timestep.
        write_onnx_model(model, Path(scratch) / "model.onnx")
        converted = openvino.Core().read_model(Path(scratch) / "model.onnx")
    passes = Manager()
    passes.register_pass(ConstantFolding())
    passes.run_passes(converted)
    if precision == "fp16":
        _compress_weights(converted)
    return converted


def save_openvino(model: Any, path: Path) -> None:
    """Write `<path>` and the .bin beside it."""
    import openvino

    path.parent.mkdir(parents=True, exist_ok=True)
    openvino.save_model(model, path, compress_to_fp16=False)
    _mark_decompression(path)


def _compress_weights(model: Any) -> None:
    """Store every weight with two or more real dimensions in float16; biases, norms and the formula stay float32."""
    import openvino
    from openvino import opset13

    for node in model.get_ops():
        if node.get_type_name() != "Constant" or node.get_element_type() != openvino.Type.f32:
            continue
        name = node.get_friendly_name()
        if sum(size > 1 for size in node.shape) < 2 or name.startswith(EDGES):
            continue
        if not np.abs(node.data).max() <= LARGEST:
            continue  # float16 cannot hold it
        stored = opset13.constant(node.data.astype(np.float16))
        stored.set_friendly_name(name + SUFFIX)
        convert = opset13.convert(stored, "f32")
        for user in node.output(0).get_target_inputs():
            user.replace_source_output(convert.output(0))
        convert.set_friendly_name(name)
    model.validate_nodes_and_infer_types()


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
