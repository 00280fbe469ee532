"""A copy of an artifact whose manifest says something else."""

import json
import shutil
from pathlib import Path

from edgestep.artifact import MANIFEST


def edited(folder: Path, to: Path, **changed) -> Path:
    """Copy an artifact; change manifest keys, `contract__key` for one of the contract."""
    shutil.copytree(folder, to)
    manifest = json.loads((to / MANIFEST).read_text())
    for key, value in changed.items():
        at = manifest["contract"] if key.startswith("contract__") else manifest
        at[key.removeprefix("contract__")] = value
    (to / MANIFEST).write_text(json.dumps(manifest))
    return to
