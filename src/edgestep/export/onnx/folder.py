"""Graphs -> ONNX files at the places where optimum looks for them."""

from dataclasses import replace
from pathlib import Path

from edgestep.export.graph.graphs import Graphs
from edgestep.export.onnx.decoder_range import decoder_ranges
from edgestep.export.onnx.fuse import fuse
from edgestep.export.onnx.half import half_from_onnx
from edgestep.export.onnx.onnx_from_torch import onnx_from_torch
from edgestep.export.onnx.overflow import Ranges
from edgestep.export.onnx.prompt_range import prompt_ranges
from edgestep.export.onnx.write import write_onnx_model
from edgestep.export.written import Written


def write_onnx(folder: Path, graphs: Graphs, names: tuple[str, ...], precision: str) -> Written:
    """Write each graph to `<name>/model.onnx`, the fused one to `generator.onnx`; inputs and outputs stay float32.

    In fp16 text encoders and decoder are run first, and what leaves float16's range stays float32: the notes say what.
    """
    components, notes = [], ()
    for name in names:
        model = onnx_from_torch(graphs, name)
        # Split files are for whichever client, at its opset; onnxruntime computes Attention in float32 on every CPU.
        fuse(model, attention=name == "generator" and precision == "fp32")
        if precision == "fp16":
            found = _ranges(graphs, name)
            model = half_from_onnx(model, {module for ranges in found for module in ranges.keep})
            notes += tuple(note for ranges in found for note in ranges.notes())
        file = "generator.onnx" if name == "generator" else f"{name}/model.onnx"
        write_onnx_model(model, folder / file, graphs.tell)
        components.append(replace(graphs.component(name), file=file))
    return Written(tuple(components), notes)


def _ranges(graphs: Graphs, name: str) -> list[Ranges]:
    """Return what was seen of the parts of a graph; none of a denoiser."""
    searched = [*graphs.base.prompt_io(graphs.shapes), "vae_decoder"]
    parts = searched if name == "generator" else [part for part in searched if part == name]
    return [decoder_ranges(graphs) if part == "vae_decoder" else prompt_ranges(graphs, part) for part in parts]
