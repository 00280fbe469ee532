"""coremltools, imported and called without its progress bars, and without what it says of each library's version."""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from typing import Any

from edgestep.artifact import BadInput


def import_coremltools() -> Any:
    """Return coremltools; raise BadInput where it is not installed."""
    try:
        with silenced():
            import coremltools
    except ImportError as error:
        raise BadInput("got no coremltools; Core ML needs it: pip install 'edgestep[coreml]'") from error
    return coremltools


@contextlib.contextmanager
def silenced() -> Iterator[None]:
    """Keep the progress bars, warnings and log lines of coremltools out of a command's output: it has no switch."""
    logger = logging.getLogger("coremltools")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
