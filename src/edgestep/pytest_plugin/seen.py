"""One comparison <-> plain JSON values: the artifact's row, its contract, and the reference with its pictures.

The pictures themselves are files in the report's folder, written where the test ran.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgestep.artifact import OneStep, read_artifact
from edgestep.harness.machine import Machine
from edgestep.harness.parity.check import CheckedPictures
from edgestep.harness.plain import plain_from
from edgestep.harness.reference.bundle import Reference
from edgestep.harness.results import ArtifactResult, CasePicture, result_from_artifact
from edgestep.runtimes.picture import write_picture


@dataclass(frozen=True)
class Seen:
    """One comparison. `row.folder` is absolute and `tensors_sha256` the reference's; pictures as in a report."""

    row: ArtifactResult
    contract: OneStep
    tensors_sha256: str
    machine: Machine
    floor: Mapping[str, float]
    cases: tuple[CasePicture, ...]


def seen_from_parity(
    folder: Path, reference: Reference, checked: CheckedPictures, name: str, report: Path | None
) -> dict[str, Any]:
    """Return a `Seen` as plain values; with `report`, write the pictures there under `name`."""
    artifact = read_artifact(folder, verify=False)
    row = result_from_artifact(
        artifact,
        parity=checked.result,
        folder=str(folder.resolve()),
        pictures=_written(checked.pictures, f"pictures/{name}", report),
    )
    index = reference.index
    wanted = [case.picture[0] for case in reference.cases]
    paths = _written(wanted, f"pictures/reference-{index.tensors_sha256[:8]}", report) or ("",) * len(wanted)
    cases = tuple(CasePicture(c.name, c.prompt, path) for c, path in zip(reference.cases, paths, strict=True))
    seen = Seen(row, artifact.contract, index.tensors_sha256, index.machine, index.floor, cases)
    return plain_from(seen)


def _written(pictures: Any, under: str, report: Path | None) -> tuple[str, ...]:
    """Write uint8 [H, W, 3] pictures as PNGs; return their paths relative to the report, none without one."""
    if report is None:
        return ()
    paths = tuple(f"{under}/{number:03}.png" for number in range(len(pictures)))
    for path, picture in zip(paths, pictures, strict=True):
        write_picture(picture, report / path)
    return paths
