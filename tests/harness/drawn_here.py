"""In place of the drawing worker: draw in this process, and let every drawing go through a change."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgestep.harness.reference.bundle import Reference, ReferenceCase
from edgestep.runtimes.drawing import Drawer, Drawing


def drawn_here(change: Callable[[Drawer, Drawing, ReferenceCase], Drawing]) -> Callable[..., list[Drawing]]:
    """Return what may stand for `draw_apart`; the decoder alone is always faithful."""

    def draw(folder: Path, name: str, reference: Reference, *, runtime: str, **_: Any) -> list[Drawing]:
        drawings = []
        with Drawer(folder, runtime=runtime, threads=1) as drawer:
            for case in reference.cases:
                drawing = change(drawer, drawer.draw(**case.inputs), case)
                decoded = None if drawer.artifact.layout == "fused" else drawer.decode(case.x0)
                drawings.append(replace(drawing, decoded=decoded))
        return drawings

    return draw
