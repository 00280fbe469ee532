"""A .mlpackage folder -> its protobuf and its weights; what is no ML Program is refused in one line."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgestep.artifact import BadInput, inside
from edgestep.mlpackage.layout import MANIFEST
from edgestep.mlpackage.spec import spec_from_file

if TYPE_CHECKING:
    from edgestep.runtimes.mil.blobs import Blobs  # which needs torch, and a Mac that only predicts may have none

KINDS = {
    "neuralNetwork": "a neural network of the old kind",
    "neuralNetworkClassifier": "a neural network of the old kind",
    "neuralNetworkRegressor": "a neural network of the old kind",
    "pipeline": "a pipeline of several models",
    "pipelineClassifier": "a pipeline of several models",
    "pipelineRegressor": "a pipeline of several models",
}
"""What a model may be instead of an ML Program, and what to call it."""


@dataclass(frozen=True, eq=False)
class Package:
    """The Model_pb2.Model of a package, and the weights that it names."""

    spec: Any
    blobs: "Blobs"


def read_package(path: Path) -> Package:
    """Read it. Raises BadInput as `read_spec`."""
    from edgestep.runtimes.mil.blobs import Blobs

    return Package(read_spec(path), Blobs(_model_file(path).parent))


def read_spec(path: Path) -> Any:
    """Return the Model_pb2.Model of a package.

    Raises BadInput for anything but a package with one ML Program, and where coremltools is missing.
    """
    if path.suffix == ".mlmodelc":
        raise BadInput(
            f"got {path}, compiled and perhaps encrypted for one system; expected the .mlpackage that it was made of"
        )
    if not path.is_dir():
        raise BadInput(f"got no folder at {path}; expected a .mlpackage; a .mlmodel is of the old kind: convert again")
    spec = spec_from_file(_model_file(path))
    kind = spec.WhichOneof("Type")
    if kind != "mlProgram":
        raise BadInput(
            f"got {KINDS.get(kind, f'a model of the kind {kind}')} in {path}; expected an ML Program; convert it with "
            "convert_to='mlprogram'" + (", each model by itself" if "pipeline" in (kind or "") else "")
        )
    return spec


def _model_file(path: Path) -> Path:
    """Return the root model's file, as Manifest.json names it."""
    try:
        manifest = json.loads((path / MANIFEST).read_text())
        items, root = manifest["itemInfoEntries"], manifest["rootModelIdentifier"]
        models = [item["path"] for item in items.values() if item["path"].endswith(".mlmodel")]
        named = items[root]["path"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadInput(
            f"got {path} with a broken {MANIFEST} ({error!r}); expected a .mlpackage; copy it again"
        ) from error
    if len(models) != 1:
        raise BadInput(f"got {len(models)} models in {path}; expected one; save each in a package of its own")
    return inside(path / "Data", named)
