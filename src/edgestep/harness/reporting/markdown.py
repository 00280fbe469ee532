"""Results -> Markdown for a terminal or a CI job's summary: headline, what failed, one table row per artifact."""

import re
from collections.abc import Sequence

from edgestep.harness.figures import interval_text, ratio_text
from edgestep.harness.reporting.advice import advice_from_rows
from edgestep.harness.reporting.controls import CONTROL_COLUMNS, CONTROL_TEXT, CONTROL_TITLE, controls_from_rows
from edgestep.harness.reporting.summary import (
    COLUMNS,
    Complaint,
    Row,
    best_speedup,
    complaints_from_rows,
    counts_text,
    evaluated_text,
    reference_labels,
    rows_from_results,
    shipped_text,
)
from edgestep.harness.results import Results

_NUMBERS = {"#", "size", "PSNR", "SSIM", "x0 SQNR", "p50", "p90", "vs teacher", "first run", "load", "peak memory"}


def markdown_from_results(results: Results) -> str:
    """Return the summary; every text from data stands escaped, on one line, so that it cannot break the table."""
    rows = rows_from_results(results)
    name = f"{escape(results.checkpoint.name)}: " if results.checkpoint else ""
    parts = [f"**{name}{shipped_text(results)}. {counts_text(rows)}.**", ""]
    best = best_speedup(results, rows)
    if best:
        interval = interval_text(best.interval)
        sure = f" (95 % interval {interval})" if interval else " (not interleaved)"
        label = f"{best.row.number} {best.row.label}"
        parts += [f"One step of {escape(label)} is {ratio_text(best.ratio)} faster than {escape(best.over)}{sure}.", ""]
    complaints = complaints_from_rows(rows)
    parts += [*(_line(complaint) for complaint in complaints), *([""] if complaints else [])]
    parts.append(_row(COLUMNS))
    parts.append("|" + "|".join("---:" if column in _NUMBERS else "---" for column in COLUMNS) + "|")
    parts += [_row(row.cells) for row in rows]
    parts += ["", *(f"- {escape(line)}" for line in advice_from_rows(results, rows))]
    parts += _controls(rows)
    labels = reference_labels(results)
    parts += ["", f"Compared with {escape('; '.join(labels))}."] if labels else []
    parts += ["", escape(evaluated)] if (evaluated := evaluated_text(rows)) else []
    return "\n".join(parts) + "\n"


def _controls(rows: Sequence[Row]) -> list[str]:
    """Return the lines of the table of naive counterparts, none where there is no quantized artifact."""
    controls = controls_from_rows(rows)
    if not controls:
        return []
    rule = "|" + "|".join("---" if column == "artifact" else "---:" for column in CONTROL_COLUMNS) + "|"
    table = [_row(CONTROL_COLUMNS), rule, *(_row(control.cells) for control in controls)]
    return ["", f"**{CONTROL_TITLE}.** {escape(CONTROL_TEXT)}", "", *table]


def escape(text: str) -> str:
    """Return `text` on one line with what Markdown or HTML would read as markup made literal."""
    return re.sub(r"([\\`*_|<>\[\]#~!&])", r"\\\1", re.sub(r"\s+", " ", text))


def _row(cells: tuple[str, ...]) -> str:
    return "| " + " | ".join(escape(cell) if cell != "#" else cell for cell in cells) + " |"


def _line(complaint: Complaint) -> str:
    """`- 9 intel w8a8 split: image PSNR 26.4 dB, gate ≥ 28, worst in case-02: reason`."""
    text = f"{complaint.row.number} {complaint.row.label}: {complaint.what}"
    text += f" {complaint.figure}, gate {complaint.limit}" if complaint.figure else ""
    text += f", worst in {complaint.case}" if complaint.case else ""
    text += f": {complaint.reason}" if complaint.reason else ""
    return f"- {escape(text)}"
