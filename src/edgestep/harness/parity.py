"""Artifact and reference bundle -> ParityResult: does it still draw what PyTorch drew? Needs no torch.

What the artifact or the bundle cannot be used for is BadInput. What happens once the runtime has the artifact is a
verdict: a crash there is a failure, never a pass and never an exception.

An artifact with a tiny decoder in place of the VAE is an approximation, and never passes. Its x0 and embeddings are
gated like any other's; its pictures only where the reference was drawn with the same decoder.
"""

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgestep.artifact import Artifact, BadInput, read_artifact
from edgestep.harness.bundle import Reference
from edgestep.harness.gates import IMAGE_PSNR, IMAGE_SSIM, gates_for
from edgestep.harness.judge import FUSED_ABSENT, judge, verdict_of, without_picture_limits
from edgestep.harness.results import FAILED, PASSED, UNCHECKED, GateResult, ParityResult
from edgestep.runtimes.drawing import Drawer, Drawing
from edgestep.runtimes.registry import FORMATS, SESSIONS

UNCHECKED_FORMATS = {"coreml": "Core ML does not run here: converted and loaded back, its pictures not compared yet"}
"""Format that no runtime here runs -> why its parity is not checked."""


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
    tell: Callable[[str], None] = lambda _: None,
) -> ParityResult:
    """Draw every case on the artifact and judge it by its scheme's gates; see `draw_and_check`."""
    return draw_and_check(artifact_folder, reference, runtime=runtime, threads=threads, tell=tell).result


def draw_and_check(
    artifact_folder: Path,
    reference: Reference,
    *,
    runtime: str | None = None,
    threads: int | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> CheckedPictures:
    """Draw every case on the artifact; return the verdict and the pictures.

    `runtime` None takes the format's own. Raises BadInput where the artifact's manifest or files do not hold, it was
    made from another checkpoint or for other shapes than the bundle, its scheme has no gates, or the runtime is unknown
    or not installed.
    """
    artifact = read_artifact(artifact_folder)
    check_same_model(artifact, reference)
    gates = gates_for(artifact.scheme, artifact.contract.k_e)
    approximation = artifact.contract.decoder != "vae"
    same_decoder = artifact.checkpoint_sha256 == reference.index.checkpoint_sha256
    if not same_decoder:
        gates = without_picture_limits(gates)
    if artifact.format in UNCHECKED_FORMATS:
        reason = UNCHECKED_FORMATS[artifact.format]
        return CheckedPictures(ParityResult(UNCHECKED, reason=reason, approximation=approximation), ())
    runtime = installed_runtime(artifact, runtime)
    machine, fused = reference.index.machine, artifact.layout == "fused"
    try:
        drawings = _draw(artifact_folder, reference, runtime, threads, tell)
    except Exception as error:  # whatever a runtime raises, the artifact did not draw
        reason = f"{runtime} did not draw it: {_first_line(error)}"
        failed = ParityResult(FAILED, (), reason, runtime, reference_machine=machine, approximation=approximation)
        return CheckedPictures(failed, ())
    results = judge(reference.cases, drawings, gates, fused=fused)
    verdict = verdict_of(results)
    reason = _reason(verdict, results, fused)
    if approximation and verdict != FAILED:
        verdict, reason = UNCHECKED, _approximation(results, same_decoder)
    result = ParityResult(
        verdict=verdict,
        gates=results,
        reason=reason,
        runtime=runtime,
        cases=len(drawings),
        absent=FUSED_ABSENT if fused else (),
        reference_machine=machine,
        approximation=approximation,
    )
    return CheckedPictures(result, _pictures(reference, drawings))


def check_same_model(artifact: Artifact, reference: Reference) -> None:
    """Raise BadInput where the artifact and the bundle come from different checkpoints or contracts.

    An artifact with a tiny decoder may also be held against the same checkpoint's with its VAE.
    """
    index, contract = reference.index, artifact.contract
    with_vae = contract.decoder != "vae" and artifact.with_vae_sha256 == index.checkpoint_sha256
    made_from = artifact.with_vae_sha256 if with_vae else artifact.checkpoint_sha256
    for what, got, expected in (
        ("made from checkpoint", made_from[:12], index.checkpoint_sha256[:12]),
        ("for latents", list(contract.latent_shape), list(index.latent_shape)),
        ("for pictures", list(contract.image_size), list(index.image_size)),
        ("for steps", 1 + len(contract.next_steps), index.steps),
        ("for prompt tokens", contract.prompt_tokens, index.prompt_tokens),
    ):
        if got != expected:
            raise BadInput(
                f"got {artifact.name} {what} {got}; expected the reference's {expected}; "
                "record a reference of the checkpoint that the artifact came from"
            )


def installed_runtime(artifact: Artifact, runtime: str | None) -> str:
    """Return the name of the runtime to use; raise BadInput where it is unknown, or its package is not installed."""
    name = runtime or FORMATS.get(artifact.format, "")
    if name not in SESSIONS:
        raise BadInput(f"got runtime {name!r} for {artifact.format}; expected one of {', '.join(SESSIONS)}; choose one")
    if importlib.util.find_spec(name) is None:
        raise BadInput(f"got no package {name}; expected it to run {artifact.name}; pip install {name}")
    return name


def _draw(
    folder: Path, reference: Reference, runtime: str, threads: int | None, tell: Callable[[str], None]
) -> list[Drawing]:
    drawings = []
    with Drawer(folder, runtime=runtime, threads=threads, verify=False) as drawer:
        for i, case in enumerate(reference.cases):
            tell(f"parity: {drawer.artifact.name}, case {i + 1} of {len(reference.cases)}")
            drawings.append(drawer.draw(**case.inputs))
    return drawings


def _reason(verdict: str, results: tuple[GateResult, ...], fused: bool) -> str:
    """Name every gate that failed, or could not decide; a fused pass says what it did not see."""
    if verdict == PASSED:
        return "a fused graph shows no x0 and no embeddings: judged by its pictures" if fused else ""
    wanted = False if verdict == FAILED else None
    named = [
        f"{r.measure} {r.worst:.4g} (limit {r.limit}, {r.case or 'no case'})" for r in results if r.passed is wanted
    ]
    return ("failed " if verdict == FAILED else "undecided ") + ", ".join(named)


def _approximation(results: Sequence[GateResult], same_decoder: bool) -> str:
    """Say what an approximation was held against, how far its pictures are from that, and what was gated at all."""
    worst = {result.measure: result.worst for result in results}
    whose = "PyTorch's with the same tiny decoder" if same_decoder else "the VAE's"
    held = [r.measure for r in results if r.measure in FUSED_ABSENT and r.limit != "report" and r.passed]
    undecided = [r.measure for r in results if r.passed is None]
    return "; ".join(
        (
            "approximation: a tiny decoder in place of the VAE",
            f"pictures against {whose} {worst[IMAGE_PSNR]:.1f} dB PSNR, {worst[IMAGE_SSIM]:.3f} SSIM at worst",
            f"within its gate: {', '.join(held)}" if held else "no gate on x0 applies",
            *([f"undecided: {', '.join(undecided)}"] if undecided else ()),
        )
    )


def _pictures(reference: Reference, drawings: list[Drawing]) -> tuple[np.ndarray, ...]:
    """Return the pictures where they are pictures; a wrong shape or type is no picture to show."""
    height, width = reference.index.image_size
    pictures = [drawing.image for drawing in drawings]
    if any(p.shape != (1, height, width, 3) or p.dtype != np.uint8 for p in pictures):
        return ()
    return tuple(p[0] for p in pictures)


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error).strip().splitlines() or ['no message'])[0]}"
