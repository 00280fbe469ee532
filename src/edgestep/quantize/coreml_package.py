"""A .mlpackage, opened with coremltools and written again with another program in the same folder."""

import contextlib
import io
import logging
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edgestep.artifact import BadInput

MODEL = Path("Data", "com.apple.CoreML", "model.mlmodel")
WEIGHTS = Path("Data", "com.apple.CoreML", "weights", "weight.bin")


def read_spec(path: Path) -> Any:
    """Return the Model_pb2.Model of a .mlpackage; BadInput where it cannot be read."""
    coremltools()
    from coremltools.proto import Model_pb2
    from google.protobuf.message import DecodeError

    if not (path / MODEL).is_file() or not (path / WEIGHTS).is_file():
        raise BadInput(f"got no {MODEL.name} with {WEIGHTS.name} in {path}; expected a .mlpackage; export it again")
    spec: Any = Model_pb2.Model()
    try:
        spec.ParseFromString((path / MODEL).read_bytes())
    except DecodeError as error:
        raise BadInput(f"got {path / MODEL}, which cannot be read ({error}); export it again") from error
    return spec


def open_package(path: Path) -> Any:
    """Return the MLModel of a .mlpackage, which is not compiled: that needs a Mac. BadInput where it cannot be read.

    It is a copy: coremltools writes Manifest.json anew in a package that it opens, and the parent's hashes with it.
    """
    spec = read_spec(path)
    with silenced():
        return coremltools().models.MLModel(spec, skip_model_load=True, weights_dir=str((path / WEIGHTS).parent))


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
        (final / MODEL).write_bytes(_in_order((saved / MODEL).read_bytes()))


def _in_order(serialized: bytes) -> bytes:
    from coremltools.proto import Model_pb2

    kind: Any = Model_pb2.Model
    return kind.FromString(serialized).SerializeToString(deterministic=True)


def opset_of(spec: Any) -> int:
    """Return the opset that a model is written in: 7 is iOS 16, 8 is iOS 17 and macOS 14, 9 is iOS 18 and macOS 15."""
    return int(spec.specificationVersion)


IOS17, IOS18 = 8, 9


def coremltools() -> Any:
    """Return coremltools; raise BadInput where it is not installed."""
    try:
        with silenced():  # it warns of each library that it was not tested with
            import coremltools as ct
            import coremltools.optimize.coreml
    except ImportError as error:
        raise BadInput(f"got no {error.name}; Core ML needs it: pip install 'edgestep[coreml]'") from error
    return ct


@contextlib.contextmanager
def silenced() -> Iterator[None]:
    """Keep the progress bars, warnings and log lines of coremltools out of a command's output."""
    logger = logging.getLogger("coremltools")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
