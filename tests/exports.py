"""The artifacts of one checkpoint, each exported once in a session, whichever test process comes first."""

from functools import cached_property
from pathlib import Path
from typing import Any

from tests.made_once import made_once

TARGETS = {"onnx": "x86", "openvino": "intel", "coreml": "mac"}
"""Format -> the target that the manifest names."""


class Exports:
    """Call it with format, layout, precision and Core ML's options: it returns the artifact's folder, below `root`.

    Nobody changes what is in it. The checkpoint is opened and captured when this process first needs a graph of it.
    """

    def __init__(self, checkpoint: Path, root: Path) -> None:
        self.folder, self.root = checkpoint, root

    def __call__(self, format: str, layout: str, precision: str = "fp32", options: Any = None) -> Path:
        from edgestep.export.run import coreml_options, export

        def make(out: Path) -> None:
            given = {"format": format, "layout": layout, "precision": precision, "target": TARGETS[format]}
            export(self.checkpoint, out=out, graphs=self.graphs, coreml=options, **given)

        name = f"{format}-{precision}"
        if format == "coreml":  # what is resolved to the same options is the same artifact
            name = "-".join((name, *coreml_options(format, self.graphs.contract, options).told.values()))
        return made_once(self.root / name / layout, make)

    @cached_property
    def checkpoint(self) -> Any:
        from edgestep.export.source.checkpoint import open_checkpoint

        return open_checkpoint(self.folder)

    @cached_property
    def graphs(self) -> Any:
        from edgestep.export.graph.graphs import Graphs
        from edgestep.export.recipe.contract import contract_from_checkpoint

        return Graphs(self.checkpoint, contract_from_checkpoint(self.checkpoint))
