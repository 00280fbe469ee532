"""A model's protobuf, read and written without coremltools' MIL in between."""

from pathlib import Path
from typing import Any

from edgestep.artifact import BadInput
from edgestep.mlpackage.tools import import_coremltools


def new_spec(version: int = 0) -> Any:
    """Return an empty Model_pb2.Model of that specification version; raise BadInput without coremltools."""
    import_coremltools()
    from coremltools.proto import Model_pb2

    kind: Any = Model_pb2.Model
    return kind(specificationVersion=version)


def spec_from_file(file: Path) -> Any:
    """Return the Model_pb2.Model of a .mlmodel; raise BadInput where it cannot be read."""
    spec = new_spec()
    from google.protobuf.message import DecodeError

    try:
        spec.ParseFromString(file.read_bytes())
    except (OSError, DecodeError) as error:
        raise BadInput(
            f"got {file}, which cannot be read ({error}); expected a Core ML model; copy the package again"
        ) from error
    return spec


def write_spec(spec: Any, file: Path) -> None:
    """Write it; equal models give equal bytes, where protobuf by itself orders what is named anew each time."""
    file.write_bytes(spec.SerializeToString(deterministic=True))
