"""What the drawing worker runs for an artifact: load it, draw a case, decode the reference's x0 beside."""

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path

import numpy as np


class ArtifactDrawer:
    """One artifact on one runtime. Its hashes were checked by the parent."""

    def __init__(self, folder: str, runtime: str, threads: int | None) -> None:
        self.folder, self.runtime, self.threads = Path(folder), runtime, threads
        self.notes: tuple[str, ...] = ()

    def load(self) -> None:
        """Open every component."""
        from edgestep.runtimes.drawing import Drawer

        self._drawer = Drawer(self.folder, runtime=self.runtime, threads=self.threads, verify=False)

    def draw(self, inputs: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        """Return the arrays of the Drawing that the layout shows; `notes` are then those of this drawing."""
        given = dict(inputs)
        reference_x0 = given.pop("reference_x0")
        drawing = self._drawer.draw(**given)
        self.notes = drawing.notes
        found = {field.name: getattr(drawing, field.name) for field in fields(drawing) if field.name != "notes"}
        if self._drawer.artifact.layout == "split":
            found["decoded"] = self._drawer.decode(reference_x0)
        return {name: array for name, array in found.items() if array is not None}
