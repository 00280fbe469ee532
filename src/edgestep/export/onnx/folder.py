"""Graphs -> ONNX files at the places where optimum looks for them."""

from dataclasses import replace
from pathlib import Path

from edgestep.artifact import Component
from edgestep.export.graph.graphs import Graphs
from edgestep.export.onnx.half import half_from_onnx
from edgestep.export.onnx.onnx_from_torch import onnx_from_torch
from edgestep.export.onnx.write import write_onnx_model


def write_onnx(folder: Path, graphs: Graphs, names: tuple[str, ...], precision: str) -> tuple[Component, ...]:
    """Write each graph to `<name>/model.onnx`, the fused one to `generator.onnx`; inputs and outputs stay float32."""
    components = []
    for name in names:
        model = onnx_from_torch(graphs, name)
        if precision == "fp16":
            model = half_from_onnx(model)
        file = "generator.onnx" if name == "generator" else f"{name}/model.onnx"
        write_onnx_model(model, folder / file, graphs.tell)
        components.append(replace(graphs.component(name), file=file))
    return tuple(components)
