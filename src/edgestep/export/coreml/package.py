"""A .mlpackage <-> its protobuf and its weights, without coremltools' MIL in between."""

import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edgestep.artifact import BadInput
from edgestep.export.coreml.coreml_from_torch import import_coremltools
from edgestep.export.coreml.weight_file import WeightSource, WeightWriter

FOLDER = Path("Data/com.apple.CoreML")
MODEL, WEIGHTS = "model.mlmodel", "weights/weight.bin"
MODEL_PATH = "@model_path/"
ITEMS = {"model.mlmodel": "CoreML Model Specification", "weights": "CoreML Model Weights"}
"""What the manifest of a package lists."""


def read_spec(package: Path) -> Any:
    """Return the Model_pb2.Model of a package that export wrote; raise BadInput without coremltools."""
    spec = new_spec()
    spec.ParseFromString((package / FOLDER / MODEL).read_bytes())
    return spec


def new_spec(version: int = 0) -> Any:
    """Return an empty Model_pb2.Model of that specification version."""
    import_coremltools()
    from coremltools.proto import Model_pb2

    kind: Any = Model_pb2.Model
    return kind(specificationVersion=version)


def weights_of(package: Path) -> WeightSource:
    """Return the weights of a package."""
    return WeightSource(package / FOLDER / WEIGHTS)


def write_package(package: Path, spec: Any, sources: dict[str, WeightSource]) -> int:
    """Write a package with what its functions name of the weights, each array once; return their bytes.

    `sources`: function -> where its weights lie now. The offsets in `spec` are changed in place. Equal programs and
    weights give equal bytes.
    """
    folder = package / FOLDER
    with WeightWriter(folder / WEIGHTS) as writer:
        for name, function in sorted(spec.mlProgram.functions.items()):
            for blob in blobs_of(block_of(function).operations):
                _check_file(package, blob)
                blob.offset = writer.copy(sources[name], blob.offset)
    (folder / MODEL).write_bytes(spec.SerializeToString(deterministic=True))
    items = [name for name in ITEMS if (folder / name).exists()]
    (package / "Manifest.json").write_text(json.dumps(_manifest(items), indent=1, sort_keys=True) + "\n")
    return writer.bytes


def block_of(function: Any) -> Any:
    """Return the block of a function that is executed."""
    return function.block_specializations[function.opset]


def blobs_of(operations: Any) -> Iterator[Any]:
    """Yield every BlobFileValue of operations, of nested ones too; to be changed in place."""
    for operation in operations:
        values = list(operation.attributes.values())
        values += [one.value for argument in operation.inputs.values() for one in argument.arguments]
        yield from (value.blobFileValue for value in values if value.WhichOneof("value") == "blobFileValue")
        for block in operation.blocks:
            yield from blobs_of(block.operations)


def _check_file(package: Path, blob: Any) -> None:
    if blob.fileName != MODEL_PATH + WEIGHTS:
        raise BadInput(f"got weights in {blob.fileName} of {package.name}; expected {WEIGHTS}; export it again")


def _manifest(items: list[str]) -> dict[str, Any]:
    """Return Manifest.json: identifiers follow from the paths."""
    paths = {name: f"com.apple.CoreML/{name}" for name in items}
    identifiers = {name: str(uuid.uuid5(uuid.NAMESPACE_OID, path)).upper() for name, path in paths.items()}
    entries = {
        identifiers[name]: {"author": "com.apple.CoreML", "description": ITEMS[name], "name": name, "path": paths[name]}
        for name in items
    }
    return {
        "fileFormatVersion": "1.0.0",
        "itemInfoEntries": entries,
        "rootModelIdentifier": identifiers["model.mlmodel"],
    }
