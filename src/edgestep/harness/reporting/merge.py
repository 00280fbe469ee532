"""Several report.json -> one: the artifacts of all, each with the latency that its own machine measured."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from edgestep.artifact import BadInput
from edgestep.harness.results import ArtifactResult, Results, read_results


def merged_results(paths: Sequence[Path], out: Path) -> Results:
    """Read `paths` and join them, with every picture and folder relative to the folder `out`.

    Machine, tools, cases, baselines and reference are the first one's; artifacts and ratios are everyone's, a later
    artifact of the same name in place of an earlier one. Raises BadInput where their contracts differ.
    """
    first, *others = [_moved(read_results(path), path.parent, out) for path in paths]
    for path, other in zip(paths[1:], others, strict=True):
        if other.contract != first.contract:
            raise BadInput(f"got another contract in {path} than in {paths[0]}; expected results of one checkpoint")
    artifacts = {artifact.name: artifact for results in (first, *others) for artifact in results.artifacts}
    ratios = {ratio.name: ratio for results in (first, *others) for ratio in results.ratios}
    return replace(first, artifacts=tuple(artifacts.values()), ratios=tuple(ratios.values()))


def _moved(results: Results, old: Path, new: Path) -> Results:
    def moved(path: str) -> str:
        return Path(os.path.relpath(old / path, new)).as_posix() if path else path

    def artifact(row: ArtifactResult) -> ArtifactResult:
        return replace(row, folder=moved(row.folder), pictures=tuple(moved(p) for p in row.pictures))

    return replace(
        results,
        artifacts=tuple(artifact(row) for row in results.artifacts),
        cases=tuple(replace(case, picture=moved(case.picture)) for case in results.cases),
    )
