"""A .mlpackage <-> its protobuf and its weights, without coremltools' MIL in between."""

import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edgestep.artifact import BadInput
from edgestep.export.coreml.weight_file import WeightSource, WeightWriter
from edgestep.mlpackage.layout import DATA, MANIFEST, MODEL, MODEL_PATH, WEIGHTS
from edgestep.mlpackage.spec import spec_from_file, write_spec

ITEMS = {MODEL.name: "CoreML Model Specification", WEIGHTS.parent.name: "CoreML Model Weights"}
"""What the manifest of a package lists."""


def read_spec(package: Path) -> Any:
    """Return the Model_pb2.Model of a package; raise BadInput where it cannot be read."""
    return spec_from_file(package / MODEL)


def weights_of(package: Path) -> WeightSource:
    """Return the weights of a package."""
    return WeightSource(package / WEIGHTS)


def write_package(package: Path, spec: Any, sources: dict[str, WeightSource]) -> int:
    """Write a package with what its functions name of the weights, each array once; return their bytes.

    `sources`: function -> where its weights lie now. The offsets in `spec` are changed in place. Equal programs and
    weights give equal bytes.
    """
    with WeightWriter(package / WEIGHTS) as writer:
        for name, function in sorted(spec.mlProgram.functions.items()):
            for blob in blobs_of(block_of(function).operations):
                _check_file(package, blob)
                blob.offset = writer.copy(sources[name], blob.offset)
    write_spec(spec, package / MODEL)
    items = [name for name in ITEMS if (package / DATA / name).exists()]
    write_manifest(package, _manifest(items))
    return writer.bytes


def write_manifest(package: Path, manifest: dict[str, Any]) -> None:
    """Write Manifest.json as coremltools does, which writes it anew in each package that it opens: the same bytes."""
    (package / MANIFEST).write_text(json.dumps(manifest, indent=4, sort_keys=True) + "\n")


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
    wanted = MODEL_PATH + WEIGHTS.relative_to(DATA).as_posix()
    if blob.fileName != wanted:
        raise BadInput(f"got weights in {blob.fileName} of {package.name}; expected {wanted}; export it again")


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
        "rootModelIdentifier": identifiers[MODEL.name],
    }
