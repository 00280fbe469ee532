"""coremltools, imported without what it says of every library that it was not tested with."""

import logging
import warnings
from typing import Any

from edgestep.artifact import BadInput


def import_coremltools() -> Any:
    """Return coremltools; raise BadInput where it is not installed."""
    logger = logging.getLogger("coremltools")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import coremltools
    except ImportError as error:
        raise BadInput("got no coremltools; Core ML needs it: pip install 'edgestep[coreml]'") from error
    finally:
        logger.setLevel(level)
    return coremltools
