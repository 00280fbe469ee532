"""Graphs -> Core ML packages, with the contract in each one's metadata."""

import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

from edgestep.artifact import TensorSpec
from edgestep.export.coreml.coreml_from_torch import check_package, coreml_from_torch, save_coreml
from edgestep.export.graph.graphs import Graphs
from edgestep.export.written import Written

FP16_NOTE = "fp16: everything is float16; whether the decoder stays in its range is not checked for Core ML"


def write_coreml(folder: Path, graphs: Graphs, names: tuple[str, ...], precision: str) -> Written:
    """Write each graph to `<name>.mlpackage`, a folder, and check it by loading it back."""
    components = []
    metadata = {"edgestep.contract": json.dumps(asdict(graphs.contract), sort_keys=True)}
    for name in names:
        plain = graphs.component(name, f"{name}.mlpackage")
        component = replace(plain, inputs=tuple(_coreml_specs(plain.inputs)))
        path = folder / component.file
        save_coreml(coreml_from_torch(graphs.real_program(name), component, precision, metadata), path)
        check_package(path, component)
        components.append(component)
    return Written(tuple(components), (FP16_NOTE,) if precision == "fp16" else ())


def _coreml_specs(specs: tuple[TensorSpec, ...]) -> Iterator[TensorSpec]:
    """Yield them as Core ML has them: int32 for integers, and no tensor without dimensions."""
    for spec in specs:
        yield replace(spec, dtype=spec.dtype.replace("int64", "int32"), shape=spec.shape or (1,))
