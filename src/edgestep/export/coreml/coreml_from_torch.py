"""A captured graph -> a Core ML ML Program: float16 arithmetic, float32 where rounding would be amplified.

Converting needs no Apple machine. Identifiers and names follow from the graph, so that the same checkpoint gives the
same bytes.
"""

import json
import uuid
from pathlib import Path
from typing import Any

import numpy as np

from edgestep.artifact import Component
from edgestep.export.coreml.halving import Halving
from edgestep.export.coreml.package import write_manifest
from edgestep.mlpackage.layout import MANIFEST
from edgestep.mlpackage.tools import import_coremltools, silenced


def coreml_from_torch(program: Any, component: Component, precision: str, target: str, *, image: bool = False) -> Any:
    """Return a coremltools MLModel of an ExportedProgram whose nodes are named, with the component's names and types.

    `target` is a deployment target of coremltools. `image`: the only output is [1,3,H,W] and becomes an RGB image. With
    float16 the program's weights are gone afterwards.
    """
    ct = import_coremltools()
    with silenced():
        return ct.convert(
            program,
            convert_to="mlprogram",
            minimum_deployment_target=getattr(ct.target, target),
            inputs=[ct.TensorType(name=s.name, shape=s.shape, dtype=np.dtype(s.dtype).type) for s in component.inputs],
            outputs=[_output(ct, spec, image) for spec in component.outputs],
            compute_precision=_precision(ct, program, precision),
            skip_model_load=True,
        )


def save_coreml(model: Any, path: Path) -> None:
    """Write the .mlpackage, with identifiers that follow from its names, where coremltools draws random ones."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with silenced():
        model.save(str(path))
    (path / "executorch_debug_handle_mapping.json").unlink(missing_ok=True)  # for debugging, and larger than the graph
    text = (path / MANIFEST).read_text()
    for identifier, entry in json.loads(text)["itemInfoEntries"].items():
        text = text.replace(identifier, str(uuid.uuid5(uuid.NAMESPACE_OID, entry["path"])).upper())
    write_manifest(path, json.loads(text))


def _output(ct: Any, spec: Any, image: bool) -> Any:
    if image:
        return ct.ImageType(name=spec.name, color_layout=ct.colorlayout.RGB)
    return ct.TensorType(name=spec.name, dtype=np.dtype(spec.dtype).type)


def _precision(ct: Any, program: Any, precision: str) -> Any:
    if precision == "fp32":
        return ct.precision.FLOAT32
    return ct.transform.FP16ComputePrecision(op_selector=Halving(program))
