"""Results -> the Markdown that `--markdown` leaves for a job's summary: the table of artifacts, then every gate."""

from edgestep.harness.figures import limit_text, measure_name, measure_text, median_text
from edgestep.harness.reporting.markdown import escape, markdown_from_results
from edgestep.harness.reporting.summary import VERDICT_WORDS
from edgestep.harness.results import EVALUATED, FAILED, PASSED, UNDECIDED, ArtifactResult, GateResult, Results

COLUMNS = ("outcome", "gate", "worst", "limit", "case", "median", "why")
SIGNS = {PASSED: "✅", FAILED: "❌", UNDECIDED: "❓"}
"""Verdict or gate -> sign; the word stands beside it."""


def markdown_with_gates(results: Results) -> str:
    """Return the summary and one folded table of gates per artifact, open where it did not pass."""
    tables = [_details(artifact) for artifact in results.artifacts if artifact.parity is not None]
    return "\n".join([markdown_from_results(results), *tables])


def _details(artifact: ArtifactResult) -> str:
    parity = artifact.parity
    assert parity is not None
    opened = "" if parity.verdict == PASSED else " open"
    title = f"{SIGNS.get(parity.verdict, '➖')} {_html(artifact.name)}: {VERDICT_WORDS.get(parity.verdict, '')}"
    lines = [f"<details{opened}><summary>{title}</summary>", ""]
    remarks = [parity.called] if parity.evidence == EVALUATED else []
    remarks += [parity.reason] if parity.reason else []
    if remarks:
        lines += [escape(": ".join(remarks)), ""]
    if parity.gates:
        lines += [_row(COLUMNS), "|---|---|---:|---|---|---|---|", *(_row(_cells(gate)) for gate in parity.gates), ""]
    return "\n".join([*lines, "</details>", ""])


def _cells(gate: GateResult) -> tuple[str, ...]:
    by_hand = f" (by hand; the scheme's is {limit_text(gate.scheme_limit)})" if gate.scheme_limit else ""
    figure, limit = measure_text(gate.measure, gate.worst, gate.limit), limit_text(gate.limit) + by_hand
    median = median_text(gate).removeprefix("median ") if gate.count > 1 else ""
    cells = (gate.word, measure_name(gate.measure), figure, limit, gate.case, median, gate.reason)
    return tuple(escape(cell) for cell in cells)


def _row(cells: tuple[str, ...]) -> str:
    return "| " + " | ".join(cells) + " |"


def _html(text: str) -> str:
    """Return `text` for inside <summary>, where a backslash would not hide markup."""
    flat = " ".join(text.split())
    return flat.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
