"""Small checkpoints of FAMILIES and their float32 exports, each made once in a session however many modules ask."""

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from edgestep.artifact import OneStep
from edgestep.export.graph.graphs import Graphs
from edgestep.export.recipe.contract import contract_from_checkpoint
from edgestep.export.run import export
from edgestep.export.source.checkpoint import Checkpoint, open_source
from edgestep.export.source.source import Source
from tests.families import FAMILIES


class FamilyArtifacts:
    """What lies under `root`; `said` is what a user says of a row's source, as `steps=2`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._sources: dict[str, Source] = {}
        self._graphs: dict[str, Graphs] = {}

    def source(self, name: str, **said: Any) -> Source:
        if name not in self._sources:
            self._sources[name] = FAMILIES[name].make(self.root / name / "source")
        return replace(self._sources[name], **said)

    def checkpoint(self, name: str, **said: Any) -> Checkpoint:
        return open_source(self.source(name, **said))

    def contract(self, name: str, **said: Any) -> OneStep:
        return self.graphs(name, **said).contract

    def graphs(self, name: str, **said: Any) -> Graphs:
        key = _key(name, said)
        if key not in self._graphs:
            checkpoint = self.checkpoint(name, **said)
            self._graphs[key] = Graphs(checkpoint, contract_from_checkpoint(checkpoint))
        return self._graphs[key]

    def exported(self, name: str, format: str, layout: str, **said: Any) -> Path:
        """Return the folder of the artifact."""
        out = self.root / name / _key("", said) / f"{format}-{layout}"
        if not out.exists():
            graphs = self.graphs(name, **said)
            export(
                graphs.checkpoint, format=format, precision="fp32", layout=layout, target="x86", out=out, graphs=graphs
            )
        return out


def _key(name: str, said: dict[str, Any]) -> str:
    return "-".join((name, *(f"{key}-{value}" for key, value in said.items())))


@cache
def family_artifacts(root: Path) -> FamilyArtifacts:
    """Return the one of the session."""
    return FamilyArtifacts(root)
