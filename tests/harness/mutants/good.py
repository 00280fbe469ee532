"""The good artifacts that mutants are made of, and the bundle that both are held against: the bundled generator's."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

import edgestep
from edgestep.harness.reference.bundle import Reference, read_reference
from edgestep.harness.reference.record import record_reference
from edgestep.runtimes.drawing import Drawing
from tests.exports import Exports
from tests.harness.mutants.mutant import COREML, FUSED, OPENVINO, SPLIT
from tests.harness.mutants.outcome import drawings_of
from tests.made_once import made_once

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

    def __init__(self, folder: Path, exports: Exports) -> None:
        self.folder, self._exports = folder, exports
        self._drawn: dict[str, list[Drawing]] = {}

    def artifact(self, form: str) -> Path:
        """Return the folder of one of FORMS."""
        return self._exports(*OF_FORM[form])

    def drawn(self, form: str) -> list[Drawing]:
        """Return what the good artifact draws for the bundle's cases."""
        if form not in self._drawn:
            self._drawn[form] = drawings_of(self.artifact(form), self.reference)
        return self._drawn[form]

    @cached_property
    def reference(self) -> Reference:
        """Eight cases, recorded on the CPU."""

        def record(out: Path) -> None:
            record_reference(EMOJI, device="cpu", cases=CASES, out=out)

        return read_reference(made_once(self.folder / "reference", record))


@contextmanager
def scratch_emoji() -> Iterator[Emoji]:
    """Yield an Emoji in a folder that is gone when the block ends."""
    with tempfile.TemporaryDirectory(prefix="edgestep-mutants-") as folder:
        yield Emoji(Path(folder), Exports(EMOJI, Path(folder)))
