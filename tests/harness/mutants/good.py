"""The good artifacts that mutants are made of, and the bundle that both are held against: the bundled generator's."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import edgestep
from edgestep.harness.reference.bundle import Reference
from edgestep.harness.reference.record import record_reference
from edgestep.runtimes.drawing import Drawing
from tests.harness.mutants.mutant import COREML, FUSED, OPENVINO, SPLIT
from tests.harness.mutants.outcome import drawings_of

EMOJI = Path(edgestep.__file__).parent / "checkpoints" / "emoji"
CASES = 8
OF_FORM = {
    SPLIT: ("onnx", "split"),
    FUSED: ("onnx", "fused"),
    OPENVINO: ("openvino", "split"),
    COREML: ("coreml", "split"),
}
"""Form -> format and layout."""


class Emoji:
    """The artifacts in fp32 and the bundle, each made when it is first asked for, below one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._drawn: dict[str, list[Drawing]] = {}

    def artifact(self, form: str) -> Path:
        """Return the folder of one of FORMS."""
        from edgestep.export.run import export

        out, (format, layout) = self.folder / form.replace(" ", "-"), OF_FORM[form]
        if not out.exists():
            checkpoint, graphs = self._graphs
            export(checkpoint, format=format, precision="fp32", layout=layout, target="x86", out=out, graphs=graphs)
        return out

    def drawn(self, form: str) -> list[Drawing]:
        """Return what the good artifact draws for the bundle's cases."""
        if form not in self._drawn:
            self._drawn[form] = drawings_of(self.artifact(form), self.reference)
        return self._drawn[form]

    @cached_property
    def reference(self) -> Reference:
        """Eight cases, recorded on the CPU."""
        return record_reference(EMOJI, device="cpu", cases=CASES, out=self.folder / "reference")

    @cached_property
    def _graphs(self) -> tuple[Any, Any]:
        from edgestep.export.graph.graphs import Graphs
        from edgestep.export.recipe.contract import contract_from_checkpoint
        from edgestep.export.source.checkpoint import open_checkpoint

        checkpoint = open_checkpoint(EMOJI)
        return checkpoint, Graphs(checkpoint, contract_from_checkpoint(checkpoint), lambda _: None)


@contextmanager
def scratch_emoji() -> Iterator[Emoji]:
    """Yield an Emoji in a folder that is gone when the block ends."""
    with tempfile.TemporaryDirectory(prefix="edgestep-mutants-") as folder:
        yield Emoji(Path(folder))
