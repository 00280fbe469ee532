"""Everything that a run measured, as one object: what `report.json` and every `--json FILE` hold.

The keys of design.md's "Results as JSON" are the names of the fields here; a number that could not be taken is null.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgestep.artifact import Artifact, BadInput, OneStep
from edgestep.harness.machine import Machine
from edgestep.harness.plain import from_plain, plain_from
from edgestep.harness.written import write_text

REPORT_SCHEMA = "edgestep.report"
REPORT_VERSION = 1
"""Keys are added within a version, and none is removed or given another meaning: that makes the next version."""
READABLE_VERSIONS = (1,)
"""Each of them has a file in tests/harness/old_results that still reads."""

PASSED, FAILED, UNDECIDED, UNCHECKED = "passed", "failed", "undecided", "unchecked"
VERDICTS = (PASSED, FAILED, UNDECIDED, UNCHECKED)
DEVICE, EVALUATED = "device", "evaluated"
"""How an artifact was drawn: by the runtime that it is made for, or by executing its program on another machine."""
PARITY_WORDS = {DEVICE: "parity", EVALUATED: "graph parity (evaluated)"}
"""What a verdict is called: an evaluated program says nothing of what a Neural Engine makes of it."""
UNREACHABLE, REPORTED = "unreachable", "reported"
"""What a gate can be beside passed, failed and undecided."""


@dataclass(frozen=True)
class CaseFigure:
    """One case, or two joined by "/", and the measure's value there; NaN where it could not be taken."""

    case: str
    value: float


@dataclass(frozen=True)
class GateResult:
    """One gate over the whole bundle: the worst value, the case it came from, and the limit as text: `>= 40`.

    `limit` is "report" where the measure is only reported, and `0.98 .. 1.02` for a range. `worst` is NaN where the
    measure could not be taken; `passed` is False then. `passed` is None where the gate could not decide: `reason` says
    why. `case` is the name of the worst case, two joined by "/" for a sensitivity, "" where there is none.

    `median` over the `count` cases (or pairs) and `interval`, its 95 % bootstrap interval, are NaN for shapes,
    finiteness and constancy. `failures` are all cases outside the limit. `unreachable`: the limit is stricter than
    twice the noise of PyTorch itself (see floor.py), so `passed` is None or False. `scheme_limit` is the scheme's own
    limit where this one was given by hand, else "".
    """

    measure: str
    worst: float
    limit: str
    case: str
    passed: bool | None
    reason: str = ""
    median: float = math.nan
    interval: tuple[float, float] = (math.nan, math.nan)
    count: int = 0
    failures: tuple[CaseFigure, ...] = ()
    unreachable: bool = False
    scheme_limit: str = ""

    @property
    def word(self) -> str:
        """Return passed, failed, unreachable, undecided or reported."""
        if self.unreachable and self.passed is None:
            return UNREACHABLE
        if self.passed is None:
            return UNDECIDED
        return FAILED if not self.passed else REPORTED if self.limit == "report" else PASSED


@dataclass(frozen=True)
class ParityResult:
    """The verdict on one artifact: passed, failed, undecided or unchecked; `reason` says why in one line.

    `absent` names the measures that this artifact does not let us take (a fused graph shows no x0). `approximation`:
    a tiny decoder stands in for the VAE, so the verdict is never passed: failed, or unchecked with the figures.
    `reference_label` says in words what drew the reference. `failure`: what became of the runtime's process (it
    crashed, was killed, or gave no answer in time), "" where it drew; the verdict is failed then. `evidence`: "device",
    or "evaluated" where the artifact's program was executed on another machine than it is made for, which is graph
    parity only. `notes`: what the runtime told while it drew, such as where float16 overflowed.
    """

    verdict: str
    gates: tuple[GateResult, ...] = ()
    reason: str = ""
    runtime: str = ""
    cases: int = 0
    absent: tuple[str, ...] = ()
    reference_machine: Machine | None = None
    approximation: bool = False
    reference_label: str = ""
    failure: str = ""
    evidence: str = DEVICE
    notes: tuple[str, ...] = ()

    @property
    def called(self) -> str:
        """Return what the verdict is on: "parity", or "graph parity (evaluated)"."""
        return PARITY_WORDS.get(self.evidence, PARITY_WORDS[DEVICE])


@dataclass(frozen=True)
class LatencyResult:
    """Seconds of one fresh process. `interval_s` is the 95 % bootstrap interval of the median `p50_s`.

    `kind` is "real" or "emulated". `import_s` (the runtime's own import) is not part of `load_s`; `compile_s` is, and
    is None where the runtime does not tell it from loading. `components` are medians in seconds by component name, with
    "rest" for what is outside the graphs. `machine` is where it was measured: results of several devices can be
    merged. `failure` is "" or says why there are no figures: they are NaN then.
    """

    kind: str
    load_s: float = math.nan
    first_s: float = math.nan
    p50_s: float = math.nan
    p90_s: float = math.nan
    p99_s: float = math.nan
    interval_s: tuple[float, float] = (math.nan, math.nan)
    samples_s: tuple[float, ...] = ()
    images_per_s: float = math.nan
    compile_s: float | None = None
    import_s: float | None = None
    peak_anonymous_bytes: int | None = None
    peak_resident_bytes: int | None = None
    memory_source: str = ""
    components: Mapping[str, float] = field(default_factory=dict)
    threads: int = 0
    runtime: str = ""
    machine: Machine | None = None
    failure: str = ""


@dataclass(frozen=True)
class Control:
    """What no care gives: the naive counterpart of a quantized artifact, measured as the artifact is.

    It has 8 bits for weights and activations, one range per tensor from least to greatest, and nothing stays float.
    """

    name: str
    scheme: str
    bytes: int
    parity: ParityResult


@dataclass(frozen=True)
class ArtifactResult:
    """One artifact of the report. `pictures` are PNG paths relative to the report, one per case, in order of cases.

    `folder` is relative to the report too. `parity`, `latency` and `control` are None where they were not asked for;
    `control` is None too where the artifact is not quantized.
    """

    name: str
    target: str
    scheme: str
    layout: str
    format: str
    bytes: int
    parity: ParityResult | None = None
    latency: LatencyResult | None = None
    folder: str = ""
    pictures: tuple[str, ...] = ()
    control: Control | None = None


def result_from_artifact(artifact: Artifact, **more: Any) -> ArtifactResult:
    """Return the row of an artifact, named and sized as its manifest says; `more` are the row's other fields."""
    return ArtifactResult(
        name=artifact.name,
        target=artifact.target,
        scheme=artifact.scheme,
        layout=artifact.layout,
        format=artifact.format,
        bytes=artifact.bytes,
        **more,
    )


@dataclass(frozen=True)
class Baseline:
    """What the artifacts are compared with: "PyTorch eager, one step", "teacher, 50 steps with guidance"."""

    name: str
    latency: LatencyResult


@dataclass(frozen=True)
class Ratio:
    """`ratio` = median of `over` / median of `of`, measured interleaved in one run, with its 95 % interval.

    A ratio above 1 means that `of` is that many times faster. `of_s` and `over_s` are the two medians of that run,
    seconds a picture, NaN where they were not kept.
    """

    name: str
    of: str
    over: str
    ratio: float
    interval: tuple[float, float]
    rounds: int = 0
    failure: str = ""
    of_s: float = math.nan
    over_s: float = math.nan


@dataclass(frozen=True)
class CasePicture:
    """One case of the reference bundle: its name, prompt, and the reference's PNG relative to the report."""

    case: str
    prompt: str
    picture: str


@dataclass(frozen=True)
class CheckpointSummary:
    """What the artifacts were made from."""

    name: str
    sha256: str
    licence: str = "unknown"
    bytes: int = 0


@dataclass(frozen=True)
class Schema:
    """Name and version of the object, checked when it is read."""

    name: str = REPORT_SCHEMA
    version: int = REPORT_VERSION


@dataclass(frozen=True)
class Results:
    """One run: where, with what, from what, and every figure."""

    machine: Machine
    tools: Mapping[str, str]
    contract: OneStep | None = None
    checkpoint: CheckpointSummary | None = None
    artifacts: tuple[ArtifactResult, ...] = ()
    baselines: tuple[Baseline, ...] = ()
    ratios: tuple[Ratio, ...] = ()
    cases: tuple[CasePicture, ...] = ()
    reference_machine: Machine | None = None
    reference_floor: Mapping[str, float] = field(default_factory=dict)
    schema: Schema = field(default_factory=Schema)

    def to_json(self) -> str:
        """Return the object as JSON text, `schema` first, without any NaN or infinity."""
        plain = plain_from(self)
        return json.dumps({"schema": plain.pop("schema"), **plain}, indent=1, allow_nan=False) + "\n"

    @staticmethod
    def from_json(text: str, where: str = "results") -> "Results":
        """Read what `to_json` wrote, ignoring unknown keys; raise BadInput naming `where` where it does not fit."""
        try:
            raw = json.loads(text)
            named = raw["schema"]
            schema = from_plain(Schema, {"name": named["name"], "version": named["version"]})
        except (ValueError, KeyError, TypeError) as error:
            raise BadInput(f"got no results in {where} ({error}); expected report.json; measure again") from error
        if schema.name != REPORT_SCHEMA or schema.version not in READABLE_VERSIONS:
            newer = schema.name == REPORT_SCHEMA and schema.version > REPORT_VERSION
            what = "a newer edgestep wrote it: update this one" if newer else "measure again with this version"
            raise BadInput(
                f"got schema {schema.name!r} version {schema.version} in {where}; "
                f"expected {REPORT_SCHEMA!r} version {REPORT_VERSION}; {what}"
            )
        try:
            return from_plain(Results, raw)
        except ValueError as error:
            raise BadInput(f"got results that do not fit in {where} ({error}); measure again") from error


def read_results(path: Path) -> Results:
    """Read a report.json; raise BadInput where it is missing or is something else."""
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"got {path}, which cannot be read ({error}); expected a report.json") from error
    return Results.from_json(text, str(path))


def write_results(results: Results, path: Path) -> None:
    """Write the JSON beside `path`, then move it there; raise BadInput where it cannot be written."""
    write_text(path, results.to_json())
