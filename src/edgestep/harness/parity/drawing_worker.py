"""The fresh process that draws for parity: python -m edgestep.harness.parity.drawing_worker JOB, JSON lines in and out.

On start it loads, and says so in one line. Then it answers `{"do": "draw", "inputs": FILE, "outputs": FILE}` by reading
the one and writing the other, both safetensors, and says what was drawn and what the runtime noted. An exception is
said as `{"failure": ...}`; what a crash leaves is for the parent to tell. Needs no torch.
"""

import importlib
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import numpy as np

from edgestep.harness.worker_streams import reserved_stdout, say


class CaseDrawer(Protocol):
    """What draws: made with the job's options, it has done nothing yet."""

    def load(self) -> None:
        """Load the artifact."""
        ...

    def draw(self, inputs: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        """Return what was drawn from a case's inputs, by the fields of Drawing; `reference_x0` is to be decoded."""
        ...


def main(arguments: list[str]) -> int:
    """Serve the job given as JSON in the only argument until stdin ends; return the exit status."""
    from safetensors.numpy import load_file, save_file

    out = reserved_stdout()
    try:
        job = json.loads(arguments[0])
        module, _, name = job["runner"].partition(":")
        drawer: CaseDrawer = getattr(importlib.import_module(module), name)(**job["options"])
        drawer.load()
        say(out, {"loaded": True})
        for line in sys.stdin:
            order = json.loads(line)
            drawn = drawer.draw(load_file(Path(order["inputs"])))
            whole = {key: np.ascontiguousarray(array) for key, array in drawn.items()}
            save_file(whole, Path(order["outputs"]))
            say(out, {"drawn": sorted(whole), "notes": getattr(drawer, "notes", ())})
    except Exception as error:  # the parent reports it; a traceback is in stderr for a person
        say(out, {"failure": f"{type(error).__name__}: {error}"})
        raise
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
