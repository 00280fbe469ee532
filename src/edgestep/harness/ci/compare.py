"""Two results -> what got worse, what got better, what could not be compared, artifact by artifact.

Artifacts are matched by name. What is missing is worse: a job that no longer checks something must not turn green.
"""

import math
from collections.abc import Mapping

from edgestep.artifact import BadInput
from edgestep.harness.ci.compare_gates import compare_gates
from edgestep.harness.ci.compare_latency import compare_latency
from edgestep.harness.ci.comparison import (
    ARTIFACT,
    PARITY,
    SIZE,
    Change,
    Comparison,
    Found,
    Margins,
    Note,
    joined,
)
from edgestep.harness.figures import size_text
from edgestep.harness.reporting.summary import VERDICT_WORDS
from edgestep.harness.results import FAILED, PASSED, UNCHECKED, UNDECIDED, ArtifactResult, ParityResult, Results

BADNESS = {PASSED: 0, UNDECIDED: 1, UNCHECKED: 1, FAILED: 2}


def compare_results(old: Results, new: Results, margins: Margins | None = None) -> Comparison:
    """Compare two results; raise BadInput where a margin is negative or one of them names an artifact twice."""
    margins = _checked(margins or Margins())
    before, after = _by_name(old, "the old results"), _by_name(new, "the new results")
    found = [Found(notes=_notes(old, new))]
    for name, one in before.items():
        found.append(_compare_artifact(old, one, new, after.get(name), margins))
    both = joined(found)
    return Comparison(
        both.worse,
        both.better,
        both.notes,
        compared=tuple(name for name in before if name in after),
        added=tuple(name for name in after if name not in before),
        margins=margins,
    )


def _checked(margins: Margins) -> Margins:
    for name, value in vars(margins).items():
        if not 0 <= value < math.inf:
            raise BadInput(f"got a {name} margin of {value}; expected a share of 0 or more; 0.1 is 10 %")
    return margins


def _by_name(results: Results, where: str) -> Mapping[str, ArtifactResult]:
    names = [artifact.name for artifact in results.artifacts]
    for name in names:
        if names.count(name) > 1:
            raise BadInput(f"got the artifact {name!r} twice in {where}; expected each once; compare them one by one")
    return {artifact.name: artifact for artifact in results.artifacts}


def _notes(old: Results, new: Results) -> tuple[Note, ...]:
    notes = []
    if old.checkpoint and new.checkpoint and old.checkpoint.sha256 != new.checkpoint.sha256:
        notes.append(Note("", "checkpoint", "the two come from different checkpoints"))
    if old.contract != new.contract:
        notes.append(Note("", "contract", "the two come from different contracts: another formula, sizes or tokenizer"))
    return tuple(notes)


def _compare_artifact(
    old: Results, one: ArtifactResult, new: Results, other: ArtifactResult | None, margins: Margins
) -> Found:
    if other is None:
        return Found(worse=(Change(one.name, ARTIFACT, "there", "missing"),))
    return joined(
        [
            _compare_verdict(one, other),
            compare_gates(one.name, one.parity, other.parity, margins.gate),
            _compare_size(one, other, margins.size),
            compare_latency(old, one, new, other, margins.latency),
        ]
    )


def _compare_verdict(one: ArtifactResult, other: ArtifactResult) -> Found:
    before, after = _verdict(one.parity), _verdict(other.parity)
    reason = other.parity.reason if other.parity else ""
    if BADNESS[after] > BADNESS[before]:
        return Found(worse=(Change(one.name, PARITY, VERDICT_WORDS[before], VERDICT_WORDS[after], reason),))
    if BADNESS[after] < BADNESS[before]:
        if after == PASSED:
            return Found(better=(Change(one.name, PARITY, VERDICT_WORDS[before], VERDICT_WORDS[after]),))
        return Found(notes=(Note(one.name, PARITY, f"failed before, {VERDICT_WORDS[after]} now: not called better"),))
    return Found(notes=_notes_on_cases(one, other))


def _notes_on_cases(one: ArtifactResult, other: ArtifactResult) -> tuple[Note, ...]:
    if one.parity and other.parity and other.parity.cases < one.parity.cases:
        return (Note(one.name, PARITY, f"judged on {other.parity.cases} cases, {one.parity.cases} before"),)
    return ()


def _verdict(parity: ParityResult | None) -> str:
    return parity.verdict if parity and parity.verdict in BADNESS else UNCHECKED


def _compare_size(one: ArtifactResult, other: ArtifactResult, margin: float) -> Found:
    change = Change(one.name, SIZE, size_text(one.bytes), size_text(other.bytes), "", one.bytes, other.bytes)
    if one.bytes <= 0 or other.bytes <= 0:
        return Found()
    if other.bytes > one.bytes * (1 + margin):
        return Found(worse=(change,))
    return Found(better=(change,)) if other.bytes < one.bytes / (1 + margin) else Found()
