"""OpenVINO and NNCF, which are an extra; NNCF's talk is kept out of a command's output."""

import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import Any

from edgestep.artifact import BadInput


def openvino_package() -> Any:
    """Return the module; raise BadInput, with what to install, where it is missing."""
    try:
        import openvino
    except ImportError as error:
        raise _missing(error) from error
    return openvino


def nncf_package() -> Any:
    """Return the module; raise BadInput, with what to install, where it is missing."""
    try:
        import nncf
    except ImportError as error:
        raise _missing(error) from error
    return nncf


def _missing(error: ImportError) -> BadInput:
    return BadInput(f"got no {error.name}; quantizing OpenVINO needs it; pip install 'edgestep[openvino]'")


@contextmanager
def quiet() -> Iterator[None]:
    """Keep NNCF's log lines and progress bars out; its warnings stay."""
    logger = logging.getLogger("nncf")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        with redirect_stdout(io.StringIO()):
            yield
    finally:
        logger.setLevel(level)
