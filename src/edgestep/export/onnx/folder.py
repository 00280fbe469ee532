"""Graphs -> ONNX files at the places where optimum looks for them."""

from dataclasses import replace
from pathlib import Path

from edgestep.export.graph.graphs import Graphs
from edgestep.export.onnx.decoder_range import decoder_ranges
from edgestep.export.onnx.half import half_from_onnx
from edgestep.export.onnx.onnx_from_torch import onnx_from_torch
from edgestep.export.onnx.write import write_onnx_model
from edgestep.export.written import Written

DECODES = ("vae_decoder", "generator")
"""Graphs with the decoder in them."""


def write_onnx(folder: Path, graphs: Graphs, names: tuple[str, ...], precision: str) -> Written:
    """Write each graph to `<name>/model.onnx`, the fused one to `generator.onnx`; inputs and outputs stay float32.

    In fp16 the decoder is run first, and what of it leaves float16's range stays float32; the notes say what did.
    """
    components, notes = [], ()
    for name in names:
        model = onnx_from_torch(graphs, name)
        if precision == "fp16":
            ranges = decoder_ranges(graphs) if name in DECODES else None
            model = half_from_onnx(model, ranges.keep if ranges else ())
            notes += ranges.notes() if ranges else ()
        file = "generator.onnx" if name == "generator" else f"{name}/model.onnx"
        write_onnx_model(model, folder / file, graphs.tell)
        components.append(replace(graphs.component(name), file=file))
    return Written(tuple(components), notes)
