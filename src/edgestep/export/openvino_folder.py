"""Graphs -> OpenVINO IRs at the places where openvino_genai.Text2ImagePipeline looks for them."""

from dataclasses import replace
from pathlib import Path

from edgestep.artifact import Component
from edgestep.export.graphs import Graphs
from edgestep.export.onnx_from_torch import onnx_from_torch
from edgestep.export.openvino_from_onnx import openvino_from_onnx, save_openvino


def write_openvino(folder: Path, graphs: Graphs, names: tuple[str, ...], precision: str) -> tuple[Component, ...]:
    """Write each graph to `<name>/openvino_model.xml` and .bin, the fused one to `generator.xml`."""
    components = []
    for name in names:
        file = "generator.xml" if name == "generator" else f"{name}/openvino_model.xml"
        save_openvino(openvino_from_onnx(onnx_from_torch(graphs, name), precision), folder / file)
        components.append(replace(graphs.component(name), file=file))
    return tuple(components)
