"""Artifact and reference bundle -> ParityResult: does it still draw what PyTorch drew? Needs no torch.

What the artifact or the bundle cannot be used for is BadInput. What happens once the runtime has the artifact is a
verdict: it draws in a process of its own, and a crash, a hang or an end by the system there is a failure, never a pass
and never an exception.

An artifact with a tiny decoder in place of the VAE is an approximation, and never passes. Its x0 and embeddings are
gated like any other's; its pictures only where the reference was drawn with the same decoder.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgestep.artifact import Artifact, read_artifact
from edgestep.harness.parity.drawn_apart import TIMEOUT_S, draw_apart
from edgestep.harness.parity.floor import hold_against_floor
from edgestep.harness.parity.gate_overrides import override_gates
from edgestep.harness.parity.gates import Gate, gates_for
from edgestep.harness.parity.judge import FUSED_ABSENT, judge, verdict_of, without_picture_limits
from edgestep.harness.parity.tokens import judge_prompts
from edgestep.harness.parity.words import notes_from_drawings, reason_from_gates, reason_of_approximation
from edgestep.harness.reference.bundle import Reference
from edgestep.harness.reference.same_model import check_same_model, installed_runtime
from edgestep.harness.results import DEVICE, EVALUATED, FAILED, UNCHECKED, GateResult, ParityResult
from edgestep.harness.worker_process import WorkerFailed
from edgestep.runtimes.drawing import Drawing
from edgestep.runtimes.registry import EVALUATED as EVALUATED_BY

__all__ = [
    "CheckedPictures",
    "check_drawings",
    "check_parity",
    "check_same_model",
    "draw_and_check",
    "gates_of",
    "installed_runtime",
]


@dataclass(frozen=True, eq=False)
class CheckedPictures:
    """A verdict and what it was made on: uint8 [H, W, 3] per case in the bundle's order, empty where nothing drew."""

    result: ParityResult
    pictures: tuple[np.ndarray, ...]


def check_parity(
    artifact_folder: Path,
    reference: Reference,
    *,
    runtime: str | None = None,
    threads: int | None = None,
    overrides: Sequence[str | Gate] = (),
    timeout_s: float = TIMEOUT_S,
    tell: Callable[[str], None] = lambda _: None,
) -> ParityResult:
    """Draw every case on the artifact and judge it by its scheme's gates; see `draw_and_check`."""
    return draw_and_check(
        artifact_folder,
        reference,
        runtime=runtime,
        threads=threads,
        overrides=overrides,
        timeout_s=timeout_s,
        tell=tell,
    ).result


def draw_and_check(
    artifact_folder: Path,
    reference: Reference,
    *,
    runtime: str | None = None,
    threads: int | None = None,
    overrides: Sequence[str | Gate] = (),
    timeout_s: float = TIMEOUT_S,
    tell: Callable[[str], None] = lambda _: None,
) -> CheckedPictures:
    """Draw every case on the artifact; return the verdict and the pictures.

    `runtime` None takes the format's own. `overrides` are gates in place of the scheme's: `image PSNR>=30`; the result
    says so. `timeout_s` is what loading, and each case, may take. Raises BadInput where the artifact's manifest or
    files do not hold, it was made from another checkpoint or for other shapes than the bundle, its scheme has no gates,
    an override fits none, or the runtime is unknown or not installed.
    """
    artifact = read_artifact(artifact_folder)
    check_same_model(artifact, reference)
    gates = gates_of(artifact, reference, overrides)
    runtime = installed_runtime(artifact, runtime)
    try:
        drawings = draw_apart(
            artifact_folder, artifact.name, reference, runtime=runtime, threads=threads, timeout_s=timeout_s, tell=tell
        )
    except WorkerFailed as error:
        return CheckedPictures(_failed(artifact, reference, runtime, str(error)), ())
    prompts = judge_prompts(artifact_folder, artifact, reference)
    return check_drawings(artifact, reference, drawings, runtime, gates, prompts)


def gates_of(artifact: Artifact, reference: Reference, overrides: Sequence[str | Gate] = ()) -> tuple[Gate, ...]:
    """Return the gates that an artifact is held to against a bundle, those given by hand in their places."""
    gates = gates_for(artifact.scheme, artifact.contract.k_e)
    if artifact.checkpoint_sha256 != reference.index.checkpoint_sha256:
        gates = without_picture_limits(gates)
    if artifact.layout == "fused":
        gates = tuple(gate for gate in gates if gate.measure not in FUSED_ABSENT)
    return override_gates(gates, overrides)


def check_drawings(
    artifact: Artifact,
    reference: Reference,
    drawings: Sequence[Drawing],
    runtime: str,
    gates: Sequence[Gate],
    prompts: GateResult | None = None,
) -> CheckedPictures:
    """Judge what was drawn for the bundle's cases, in their order, wherever it was drawn.

    `prompts` is the result on the artifact's tokenizer (see tokens.py); None where there is no folder to look in.
    """
    fused = artifact.layout == "fused"
    results = judge(reference.cases, drawings, gates, fused=fused)
    results = (prompts, *results) if prompts else results
    results = hold_against_floor(results, gates, reference.index.floor, artifact.scheme)
    verdict = verdict_of(results)
    notes = notes_from_drawings([case.name for case in reference.cases], drawings)
    reason = reason_from_gates(verdict, results, fused, notes)
    approximation = artifact.contract.decoder != "vae"
    if approximation and verdict != FAILED:
        same_decoder = artifact.checkpoint_sha256 == reference.index.checkpoint_sha256
        verdict, reason = UNCHECKED, reason_of_approximation(results, same_decoder)
    result = ParityResult(
        verdict=verdict,
        gates=results,
        reason=reason,
        runtime=runtime,
        cases=len(drawings),
        absent=FUSED_ABSENT if fused else (),
        reference_machine=reference.index.machine,
        approximation=approximation,
        reference_label=reference.index.label,
        evidence=evidence_of(runtime),
        notes=notes,
    )
    return CheckedPictures(result, _pictures(reference, drawings))


def evidence_of(runtime: str) -> str:
    """Return whether that runtime is what an artifact is made for ("device") or executes its program ("evaluated")."""
    return EVALUATED if runtime in EVALUATED_BY else DEVICE


def _failed(artifact: Artifact, reference: Reference, runtime: str, failure: str) -> ParityResult:
    return ParityResult(
        verdict=FAILED,
        reason=failure,
        runtime=runtime,
        reference_machine=reference.index.machine,
        approximation=artifact.contract.decoder != "vae",
        reference_label=reference.index.label,
        failure=failure,
        evidence=evidence_of(runtime),
    )


def _pictures(reference: Reference, drawings: Sequence[Drawing]) -> tuple[np.ndarray, ...]:
    """Return the pictures where they are pictures; a wrong shape or type is no picture to show."""
    height, width = reference.index.image_size
    pictures = [drawing.image for drawing in drawings]
    if any(p.shape != (1, height, width, 3) or p.dtype != np.uint8 for p in pictures):
        return ()
    return tuple(p[0] for p in pictures)
