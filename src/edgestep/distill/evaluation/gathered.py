"""What was drawn and judged, kept on disk, so that the measures can be taken again without drawing again."""

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from edgestep.artifact import BadInput
from edgestep.distill.evaluation.drawing import Judged
from edgestep.distill.evaluation.timing import Seconds

FORMAT = "edgestep.evaluation/1"


@dataclass(frozen=True)
class Drawn:
    """One way's pictures: of training wordings, of held-out wordings, and of few prompts with many seeds each.

    `diverse` holds the features float32 [P, S, D].
    """

    nfe: int
    seconds: Seconds
    training: Judged
    held_out: Judged
    diverse: np.ndarray


@dataclass(frozen=True)
class Gathered:
    """The real pictures, the same in other poses (as good as a generator can be), and every way's."""

    real: Judged
    real_again: Judged
    ways: Mapping[str, Drawn]

    def save(self, path: Path) -> None:
        """Write a safetensors file aside, then move it into place."""
        about = {name: {"nfe": drawn.nfe, "seconds": asdict(drawn.seconds)} for name, drawn in self.ways.items()}
        metadata = {"format": FORMAT, "ways": json.dumps(about)}
        aside = path.with_name(f".{path.name}.{os.getpid()}")
        save_file({name: np.ascontiguousarray(array) for name, array in self._arrays()}, aside, metadata)
        os.replace(aside, path)

    def _arrays(self) -> Iterator[tuple[str, np.ndarray]]:
        sets = {"real": self.real, "real_again": self.real_again}
        for name, drawn in self.ways.items():
            sets |= {f"{name}/training": drawn.training, f"{name}/held_out": drawn.held_out}
            yield f"{name}/diverse", drawn.diverse
        for name, judged in sets.items():
            yield f"{name}/features", judged.features
            yield f"{name}/ranks", judged.ranks


def read_gathered(path: Path) -> Gathered:
    """Return what `Gathered.save` wrote."""
    try:
        with safe_open(path, "numpy") as file:
            about = json.loads((file.metadata() or {})["ways"])
            ways = {name: _drawn(file, name, row) for name, row in about.items()}
            return Gathered(_judged(file, "real"), _judged(file, "real_again"), ways)
    except (OSError, KeyError, ValueError, TypeError, SafetensorError) as error:
        raise BadInput(f"got {path}, no kept evaluation ({error}); expected {FORMAT}; evaluate again") from error


def _drawn(file: Any, name: str, row: Mapping[str, Any]) -> Drawn:
    training, held_out = _judged(file, f"{name}/training"), _judged(file, f"{name}/held_out")
    return Drawn(row["nfe"], Seconds(**row["seconds"]), training, held_out, file.get_tensor(f"{name}/diverse"))


def _judged(file: Any, name: str) -> Judged:
    return Judged(file.get_tensor(f"{name}/features"), file.get_tensor(f"{name}/ranks"))
