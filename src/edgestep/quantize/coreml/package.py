"""A .mlpackage, opened with coremltools and written again with another program in the same folder."""

import shutil
import tempfile
from pathlib import Path
from typing import Any

from edgestep.artifact import BadInput
from edgestep.mlpackage.layout import MODEL, WEIGHTS
from edgestep.mlpackage.spec import spec_from_file, write_spec
from edgestep.mlpackage.tools import import_coremltools, silenced


def read_spec(path: Path) -> Any:
    """Return the Model_pb2.Model of a .mlpackage; BadInput where it cannot be read."""
    if not (path / MODEL).is_file() or not (path / WEIGHTS).is_file():
        raise BadInput(f"got no {MODEL.name} with {WEIGHTS.name} in {path}; expected a .mlpackage; export it again")
    return spec_from_file(path / MODEL)


def open_package(path: Path) -> Any:
    """Return the MLModel of a .mlpackage, which is not compiled: that needs a Mac. BadInput where it cannot be read.

    It is a copy: coremltools writes Manifest.json anew in a package that it opens, and the parent's hashes with it.
    """
    spec = read_spec(path)
    with silenced():
        return import_coremltools().models.MLModel(spec, skip_model_load=True, weights_dir=str((path / WEIGHTS).parent))


def save_package(model: Any, parent: Path, final: Path) -> None:
    """Write `model` to `final`: the parent's folder with its program and weights replaced.

    Same model, same bytes: coremltools would draw new identifiers for a new folder, and protobuf would write what is
    named in another order each time.
    """
    shutil.copytree(parent, final, ignore=shutil.ignore_patterns(WEIGHTS.name))
    with tempfile.TemporaryDirectory(dir=final.parent) as aside:
        saved = Path(aside) / "saved.mlpackage"
        with silenced():
            model.save(str(saved))
        shutil.move(saved / WEIGHTS, final / WEIGHTS)
        write_spec(spec_from_file(saved / MODEL), final / MODEL)


def opset_of(spec: Any) -> int:
    """Return the opset that a model is written in: 7 is iOS 16, 8 is iOS 17 and macOS 14, 9 is iOS 18 and macOS 15."""
    return int(spec.specificationVersion)


IOS17, IOS18 = 8, 9
