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


def open_package(path: Path) -> Any:
    """Return the MLModel of a .mlpackage, which is not compiled: that needs a Mac. BadInput where it cannot be read."""
    ct = coremltools()
    if not (path / MODEL).is_file() or not (path / WEIGHTS).is_file():
        raise BadInput(f"got no {MODEL.name} with {WEIGHTS.name} in {path}; expected a .mlpackage; export it again")
    try:
        with silenced():
            return ct.models.MLModel(str(path), skip_model_load=True)
    except Exception as error:  # coremltools raises what its protobuf and C++ readers do
        raise BadInput(f"got {path}, which coremltools cannot read ({error}); export it again") from error


def save_package(model: Any, parent: Path, final: Path) -> None:
    """Write `model` to `final`: the parent's folder with its program and weights replaced.

    Same model, same bytes: coremltools would draw new identifiers for a new folder.
    """
    shutil.copytree(parent, final, ignore=shutil.ignore_patterns(WEIGHTS.name))
    with tempfile.TemporaryDirectory(dir=final.parent) as aside:
        saved = Path(aside) / "saved.mlpackage"
        with silenced():
            model.save(str(saved))
        for file in (MODEL, WEIGHTS):
            shutil.move(saved / file, final / file)


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
