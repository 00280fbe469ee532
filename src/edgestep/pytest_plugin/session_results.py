"""The comparisons of a session -> one Results, written as report.json and report.html.

References may differ between tests: their cases stand one after the other, and an artifact's pictures are at its own
reference's.
"""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgestep.artifact import tool_versions
from edgestep.harness.machine import machine_here
from edgestep.harness.plain import from_plain
from edgestep.harness.reporting.report import write_report
from edgestep.harness.results import ArtifactResult, CasePicture, Results, write_results
from edgestep.pytest_plugin.seen import Seen

TOOLS = ("onnxruntime", "openvino", "numpy", "pytest")


def write_session(plain: Sequence[dict[str, Any]], folder: Path, command: str) -> list[str]:
    """Write both files into `folder`; return lines that say so. BadInput where one cannot be written."""
    seen = sorted((from_plain(Seen, one) for one in plain), key=lambda one: (one.row.name, one.row.folder))
    results = results_from_seen(seen, folder)
    write_results(results, folder / "report.json")
    write_report(results, folder / "report.html", command=command)
    none = "" if seen else "; no test compared anything, so it holds no artifact"
    return [f"{len(results.artifacts)} parities in {folder / 'report.html'} and report.json{none}"]


def results_from_seen(seen: Sequence[Seen], folder: Path) -> Results:
    """Return the results with folders relative to `folder`.

    What holds for one checkpoint or one reference only (contract, machine and floor) is left out where there are two.
    """
    references = {one.tensors_sha256: one for one in seen}
    starts, cases = _cases_of(references)
    rows = [_row(one, starts[one.tensors_sha256], folder) for one in seen]
    contracts = {one.contract for one in seen}
    only = next(iter(references.values())) if len(references) == 1 else None
    return Results(
        machine=machine_here(),
        tools=tool_versions(*TOOLS),
        contract=contracts.pop() if len(contracts) == 1 else None,
        artifacts=_told_apart(rows),
        cases=cases,
        reference_machine=only.machine if only else None,
        reference_floor=only.floor if only else {},
    )


def _cases_of(references: dict[str, Seen]) -> tuple[dict[str, int], tuple[CasePicture, ...]]:
    """Return where each reference's cases start, and all; their names carry its hash where there are two."""
    starts, cases = {}, []
    for sha256, one in references.items():
        starts[sha256] = len(cases)
        before = f"{sha256[:8]} " if len(references) > 1 else ""
        cases += [replace(case, case=before + case.case) for case in one.cases]
    return starts, tuple(cases)


def _row(one: Seen, start: int, folder: Path) -> ArtifactResult:
    pictures = ("",) * start + one.row.pictures if one.row.pictures else ()
    return replace(one.row, folder=_relative(one.row.folder, folder), pictures=pictures)


def _relative(path: str, folder: Path) -> str:
    try:
        return Path(os.path.relpath(path, folder)).as_posix()
    except ValueError:  # another drive
        return path


def _told_apart(rows: Sequence[ArtifactResult]) -> tuple[ArtifactResult, ...]:
    """Return the rows without exact repeats; others of one name get a number: a failure is never replaced by a pass."""
    kept: list[ArtifactResult] = []
    for row in rows:
        if not any(_same(row, other) for other in kept):
            kept.append(row)
    counts: dict[str, int] = {}
    named = []
    for row in kept:
        counts[row.name] = counts.get(row.name, 0) + 1
        named.append(replace(row, name=f"{row.name}-{counts[row.name]}" if counts[row.name] > 1 else row.name))
    return tuple(named)


def _same(row: ArtifactResult, other: ArtifactResult) -> bool:
    return replace(row, pictures=()) == replace(other, pictures=())
