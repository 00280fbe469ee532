"""A parity result that is no pass -> the text of the AssertionError: what does not hold, every gate, the pictures."""

from edgestep.harness.figures import limit_text, measure_name, measure_text
from edgestep.harness.reporting.summary import VERDICT_WORDS
from edgestep.harness.results import EVALUATED, FAILED, UNCHECKED, UNDECIDED, GateResult, ParityResult

HEADS = ("measure", "worst", "limit", "case", "passed")
WORDS = {"passed": "yes", "failed": "NO"}
"""Word of a gate -> what the column `passed` says where that is another one."""


def message_from_parity(result: ParityResult, artifact: str, reference: str, pictures: str) -> str:
    """Return several lines; `pictures` is the path of the strip, or why there is none."""
    on = f" on {result.runtime}" if result.runtime else ""
    on += f", {result.called}," if result.evidence == EVALUATED else ""
    label = f" ({result.reference_label})" if result.reference_label else ""
    lines = [
        f"parity {VERDICT_WORDS[result.verdict]}: {_what_does_not_hold(result)}",
        f"{artifact}{on} against {reference}{label}, {result.cases} cases",
        *table_from_gates(result.gates),
    ]
    if result.absent:
        lines.append(f"not shown by this artifact: {', '.join(map(measure_name, result.absent))}")
    lines.append(f"pictures: {pictures}")
    return "\n".join(lines)


def table_from_gates(gates: tuple[GateResult, ...]) -> list[str]:
    """Return one aligned line per gate under a head, none where there are no gates."""
    if not gates:
        return []
    rows = [HEADS, *(_cells(gate) for gate in gates)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADS))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    reasons = ["", *(gate.reason for gate in gates)]
    return [f"{line}  ({reason})" if reason else line for line, reason in zip(lines, reasons, strict=True)]


def _what_does_not_hold(result: ParityResult) -> str:
    """Name the gates in question: pytest's summary shows the start of this line only."""
    if result.verdict == UNCHECKED:
        return f"{result.reason}; allow_unchecked=True lets this through"
    passed = {FAILED: False, UNDECIDED: None}.get(result.verdict)
    named = [gate for gate in result.gates if gate.passed is passed]
    texts = [f"{measure_name(g.measure)} {measure_text(g.measure, g.worst, g.limit)} for {g.limit}" for g in named]
    return ", ".join(texts) or result.reason


def _cells(gate: GateResult) -> tuple[str, ...]:
    by_hand = f" by hand, scheme's {limit_text(gate.scheme_limit)}" if gate.scheme_limit else ""
    worst, limit = measure_text(gate.measure, gate.worst, gate.limit), limit_text(gate.limit) + by_hand
    return measure_name(gate.measure), worst, limit, gate.case, WORDS.get(gate.word, gate.word)
