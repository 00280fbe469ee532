"""A worker's side of its pipe: one JSON object a line on stdout, and nothing else there."""

import json
import os
from collections.abc import Mapping
from typing import IO, Any


def reserved_stdout() -> IO[str]:
    """Keep stdout for JSON alone: whatever a runtime prints there goes to stderr."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return out


def say(out: IO[str], message: Mapping[str, Any]) -> None:
    """Write one line, at once."""
    out.write(json.dumps(message) + "\n")
    out.flush()
