"""A damaged artifact -> what parity says of it, by the gates of three schemes, and how far its pictures moved.

It draws here, not in a process of its own as `edgestep parity` does: the figures are the same, and a hundred process
starts are saved.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgestep.artifact import BadInput, read_artifact
from edgestep.harness.parity.check import check_drawings, gates_of
from edgestep.harness.parity.drawn_artifact import ArtifactDrawer
from edgestep.harness.parity.gates import IMAGE_PSNR, IMAGE_SSIM, X0_SQNR, gates_for
from edgestep.harness.parity.tokens import judge_prompts
from edgestep.harness.reference.bundle import Reference
from edgestep.harness.results import GateResult
from edgestep.runtimes.drawing import Drawing
from edgestep.runtimes.registry import runtime_for

SCHEMES = ("fp32", "fp16", "w8a8")
"""The rows of the table of limits that every mutant is held to; the artifacts themselves are fp32."""

NOT_LOADED = "does not load"


@dataclass(frozen=True)
class Outcome:
    """`failed`: scheme -> measures outside their limits. NaN and infinity where the artifact showed no such figure.

    `moved_db` is the PSNR of its pictures against the good artifact's own, the worst case, infinite where equal.
    """

    verdict: str
    failed: Mapping[str, tuple[str, ...]]
    x0_sqnr_db: float = math.nan
    image_psnr_db: float = math.nan
    image_ssim: float = math.nan
    moved_db: float = math.nan


def drawings_of(folder: Path, reference: Reference) -> list[Drawing]:
    """Draw the bundle's cases on one thread. Raises what the runtime raises."""
    artifact = read_artifact(folder)
    drawer = ArtifactDrawer(str(folder), runtime_for(artifact), 1)
    drawer.load()
    return [Drawing(**_whole(drawer.draw({**case.inputs, "reference_x0": case.x0}))) for case in reference.cases]


def outcome_of(folder: Path, reference: Reference, good: Sequence[Drawing]) -> Outcome:
    """Draw and judge; `good` is what the undamaged artifact drew."""
    artifact = read_artifact(folder)
    try:
        drawings = drawings_of(folder, reference)
    except BadInput:  # parity takes it for a failure too: the manifest vouches for a file that does not load
        return Outcome("failed", dict.fromkeys(SCHEMES, (NOT_LOADED,)))
    prompts = judge_prompts(folder, artifact, reference)
    gates = gates_of(artifact, reference)
    result = check_drawings(artifact, reference, drawings, "", gates, prompts).result
    worst = {gate.measure: gate.worst for gate in result.gates}
    return Outcome(
        result.verdict,
        {scheme: _failed(result.gates, scheme, artifact.contract.k_e) for scheme in SCHEMES},
        worst.get(X0_SQNR, math.nan),
        worst[IMAGE_PSNR],
        worst[IMAGE_SSIM],
        min(_psnr(a.image, b.image) for a, b in zip(good, drawings, strict=True)),
    )


def _failed(gates: Sequence[GateResult], scheme: str, k_e: float) -> tuple[str, ...]:
    """Return what another scheme's limits would say of the same worst figures."""
    limits = {gate.measure: gate for gate in gates_for(scheme, k_e)}
    return tuple(
        gate.measure
        for gate in gates
        if not (limits[gate.measure].passes(gate.worst) if gate.measure in limits else gate.passed)
    )


def _whole(drawn: Mapping[str, np.ndarray]) -> dict[str, np.ndarray | None]:
    return {name: drawn.get(name) for name in ("prompt_embeds", "x0", "sample", "image", "decoded")}


def _psnr(first: np.ndarray, second: np.ndarray) -> float:
    error = float(np.mean(((first.astype(np.float64) - second) / 255) ** 2))
    return math.inf if error == 0 else -10 * math.log10(error)
