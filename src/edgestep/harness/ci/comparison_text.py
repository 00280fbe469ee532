"""A comparison -> the table that the command prints, and its Markdown."""

from collections.abc import Sequence

from edgestep.harness.ci.comparison import ARTIFACT, GATES, LATENCY, PARITY, SIZE, Change, Comparison, Note
from edgestep.harness.figures import measure_name
from edgestep.harness.reporting.markdown import escape

WHAT = {ARTIFACT: "artifact", PARITY: "parity", GATES: "gates", LATENCY: "warm p50", SIZE: "size"}
COLUMNS = ("artifact", "what", "before", "now", "why")


def text_from_comparison(comparison: Comparison) -> str:
    """Return what got worse and better as aligned columns, then the notes, then one line that sums up."""
    parts = []
    for title, changes in (("Worse:", comparison.worse), ("Better:", comparison.better)):
        if changes:
            parts += [title, *_aligned([COLUMNS, *(_cells(change) for change in changes)]), ""]
    notes = _notes(comparison.notes)
    if notes:
        parts += ["Notes:", *(f"  {note}" for note in notes), ""]
    return "\n".join([*parts, headline_of(comparison)])


def markdown_from_comparison(comparison: Comparison) -> str:
    """Return the same for a job's summary; every text from data stands escaped, on one line."""
    parts = [f"**{escape(headline_of(comparison))}**", ""]
    for title, changes in (("Worse", comparison.worse), ("Better", comparison.better)):
        if changes:
            rows = [tuple(escape(cell) for cell in _cells(change)) for change in changes]
            table = [COLUMNS, ("---",) * len(COLUMNS), *rows]
            parts += [f"{title}:", "", *("| " + " | ".join(row) + " |" for row in table), ""]
    parts += [f"- {escape(note)}" for note in _notes(comparison.notes)]
    return "\n".join(parts).rstrip("\n") + "\n"


def headline_of(comparison: Comparison) -> str:
    """Return `4 artifacts compared: 2 figures worse, 1 better; 1 artifact is new (a).`"""
    count, worse = len(comparison.compared), len(comparison.worse)
    text = f"{count} artifact{'s' * (count != 1)} compared: "
    text += f"{worse or 'no'} figure{'s' * (worse != 1)} worse, {len(comparison.better) or 'none'} better"
    if comparison.added:
        new = len(comparison.added)
        text += f"; {new} {'is' if new == 1 else 'are'} new ({', '.join(comparison.added)})"
    return text + "."


def _cells(change: Change) -> tuple[str, ...]:
    what = WHAT.get(change.what) or measure_name(change.what)
    return (change.artifact, what, change.old, change.new, change.reason)


def _aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    flat = [tuple(" ".join(cell.split()) for cell in row) for row in rows]
    widths = [max(len(row[column]) for row in flat) for column in range(len(COLUMNS))]
    return ["  " + "  ".join(f"{cell:{width}}" for cell, width in zip(r, widths, strict=True)).rstrip() for r in flat]


def _notes(notes: Sequence[Note]) -> list[str]:
    """Return one line per reason, with the artifacts it holds for."""
    artifacts: dict[str, list[str]] = {}
    for note in notes:
        artifacts.setdefault(note.reason, []).append(note.artifact)
    return [f"{', '.join(filter(None, names)) or 'all'}: {reason}" for reason, names in artifacts.items()]
