"""Graphs -> OpenVINO IRs at the places where openvino_genai.Text2ImagePipeline looks for them."""

from dataclasses import replace
from pathlib import Path

from edgestep.export.graph.graphs import Graphs
from edgestep.export.onnx.fuse import drop_unused_nodes, fuse
from edgestep.export.onnx.onnx_from_torch import onnx_from_torch
from edgestep.export.openvino.norms_by_channel import norms_by_channel
from edgestep.export.openvino.openvino_from_onnx import openvino_from_onnx, save_openvino
from edgestep.export.written import Written

FP16_NOTE = (
    "fp16: weights are stored in float16, arithmetic is the device's: float32 on a CPU; "
    "set INFERENCE_PRECISION_HINT to f32 on one that computes in float16, whose range is not checked here"
)


def write_openvino(folder: Path, graphs: Graphs, names: tuple[str, ...], precision: str) -> Written:
    """Write each graph to `<name>/openvino_model.xml` and .bin, the fused one to `generator.xml`."""
    components = []
    for name in names:
        file = "generator.xml" if name == "generator" else f"{name}/openvino_model.xml"
        component = graphs.component(name, file)
        component = replace(component, inputs=tuple(replace(s, shape=s.shape or (1,)) for s in component.inputs))
        graph = onnx_from_torch(graphs, name)
        fuse(graph, attention=False)  # OpenVINO finds attention itself
        norms_by_channel(graph)
        drop_unused_nodes(graph)
        model = openvino_from_onnx(graph, precision)
        # openvino_genai hands the timestep over as a tensor of one element.
        model.reshape({spec.name: list(spec.shape) for spec in component.inputs})
        save_openvino(model, folder / file)
        components.append(component)
    return Written(tuple(components), (FP16_NOTE,) if precision == "fp16" else ())
