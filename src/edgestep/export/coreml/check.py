"""A written .mlpackage, read back: its inputs and outputs are the component's, and every weight is a finite number."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from edgestep.artifact import BadInput, Component, TensorSpec
from edgestep.mlpackage.layout import DATA, MODEL
from edgestep.mlpackage.spec import spec_from_file

TYPES = {65568: "float32", 65552: "float16", 131104: "int32"}
"""Core ML's ArrayFeatureType -> numpy dtype name."""
FLOAT16, FLOAT32 = 10, 11
"""MIL's DataType."""


def check_package(path: Path, component: Component) -> None:
    """Read it; raise BadInput where its signature or a weight is not what it should be."""
    spec = spec_from_file(path / MODEL)
    for features, wanted in ((spec.description.input, component.inputs), (spec.description.output, component.outputs)):
        found = {_spec_of(feature) for feature in features}
        if found != set(wanted):
            raise BadInput(f"got {found} in {path.name}; expected {set(wanted)}; the conversion is at fault, report it")
    for name, value in _floats(spec, path / DATA):
        if not np.isfinite(value).all():
            raise BadInput(f"got numbers that are not finite in {name} of {path.name}; expected finite; export fp32")


def _spec_of(feature: Any) -> TensorSpec:
    if feature.type.WhichOneof("Type") == "imageType":
        image = feature.type.imageType
        return TensorSpec(feature.name, "uint8", (1, image.height, image.width, 3))
    array = feature.type.multiArrayType
    return TensorSpec(feature.name, TYPES.get(array.dataType, str(array.dataType)), tuple(array.shape))


def _floats(spec: Any, folder: Path) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the name and the numbers of every constant of floats, one at a time: weights may be gigabytes."""
    from coremltools.libmilstoragepython import _BlobStorageReader

    readers: dict[str, Any] = {}
    for operation in _operations(spec):
        if operation.type != "const":
            continue
        value = operation.attributes["val"]
        name = operation.outputs[0].name
        if value.WhichOneof("value") == "immediateValue":
            yield name, np.array(value.immediateValue.tensor.floats.values, np.float32)
            continue
        kind, blob = value.type.tensorType.dataType, value.blobFileValue
        if kind not in (FLOAT16, FLOAT32):
            continue
        if blob.fileName not in readers:
            readers[blob.fileName] = _BlobStorageReader(str(folder / blob.fileName.removeprefix("@model_path/")))
        reader = readers[blob.fileName]
        half = kind == FLOAT16
        read = reader.read_fp16_data(blob.offset) if half else reader.read_float_data(blob.offset)
        yield name, np.asarray(read).view(np.float16) if half else np.asarray(read)


def _operations(spec: Any) -> Iterator[Any]:
    for function in spec.mlProgram.functions.values():
        for block in function.block_specializations.values():
            yield from block.operations
