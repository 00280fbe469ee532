"""A JSON file of a checkpoint -> its object, or one line that says what is wrong with it."""

import json
from pathlib import Path
from typing import Any

from edgestep.artifact import BadInput


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in a file; raise BadInput where the file is missing, broken or holds something else."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise BadInput(f"got no {path}; expected a JSON file; download the checkpoint again") from error
    except (ValueError, OSError) as error:
        raise BadInput(f"got a broken {path} ({error}); expected JSON; download the checkpoint again") from error
    if not isinstance(content, dict):
        raise BadInput(f"got a {type(content).__name__} in {path}; expected a JSON object; download it again")
    return content
