"""Gate results -> the one line that a verdict comes with."""

from collections.abc import Sequence

from edgestep.harness.parity.gates import IMAGE_PSNR, IMAGE_SSIM
from edgestep.harness.parity.judge import FUSED_ABSENT
from edgestep.harness.results import FAILED, PASSED, UNREACHABLE, GateResult
from edgestep.runtimes.drawing import Drawing


def reason_from_gates(verdict: str, results: Sequence[GateResult], fused: bool, notes: Sequence[str] = ()) -> str:
    """Name every gate that failed or could not decide, and those given by hand; a fused pass, what it did not see.

    `notes` are what the runtime told (see `notes_from_drawings`): they stand first where the verdict is no pass.
    """
    parts = []
    if verdict == PASSED and fused:
        parts.append("a fused graph shows no x0 and no embeddings: judged by its pictures")
    if verdict != PASSED:
        wanted = False if verdict == FAILED else None
        named = [_named(r) for r in results if r.passed is wanted]
        parts += [*notes, ("failed " if verdict == FAILED else "undecided ") + ", ".join(named)]
    by_hand = [f"{r.measure} {r.limit} for {r.scheme_limit}" for r in results if r.scheme_limit]
    if by_hand:
        parts.append(f"gates overridden by hand: {', '.join(by_hand)}")
    if verdict == PASSED:
        parts += notes
    return "; ".join(parts)


def reason_of_approximation(results: Sequence[GateResult], same_decoder: bool) -> str:
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


def notes_from_drawings(names: Sequence[str], drawings: Sequence[Drawing]) -> tuple[str, ...]:
    """Return each note of the runtime once, with the first of the cases `names` in which it was told."""
    cases: dict[str, list[str]] = {}
    for name, drawing in zip(names, drawings, strict=True):
        for note in drawing.notes:
            cases.setdefault(note, []).append(name)
    more = {note: f" and {len(told) - 1} more" if len(told) > 1 else "" for note, told in cases.items()}
    return tuple(f"{note} in {told[0]}{more[note]}" for note, told in cases.items())


def _named(result: GateResult) -> str:
    word = ", unreachable" if result.word == UNREACHABLE else ""
    return f"{result.measure} {result.worst:.4g} (limit {result.limit}{word}, {result.case or 'no case'})"
