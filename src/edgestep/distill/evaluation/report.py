"""Rows of measures -> a Markdown table, and the JSON beside it."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgestep.distill.evaluation.measures import Estimate, Row, row_json

SCHEMA = "edgestep.evaluation/1"

HEADER = (
    "drawn by",
    "NFE",
    "Fréchet distance",
    "KID × 1000",
    "precision",
    "recall",
    "top 1",
    "top 5",
    "held-out top 1",
    "held-out top 5",
    "diversity",
    "s / picture",
)


def table(rows: Sequence[Row]) -> str:
    """Return the table as Markdown, 95 % intervals in brackets."""
    lines = [HEADER, ("---",) + ("---:",) * (len(HEADER) - 1), *(_cells(row) for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cells(row: Row) -> tuple[str, ...]:
    return (
        row.name,
        "–" if row.nfe is None else str(row.nfe),
        _number(row.frechet, 1, "{:.3f}"),
        _number(row.kernel, 1000, "{:.2f}"),
        _number(row.precision, 1, "{:.3f}"),
        _number(row.recall, 1, "{:.3f}"),
        _number(row.top1, 100, "{:.1f}", " %"),
        _number(row.top5, 100, "{:.1f}", " %"),
        _number(row.held_out_top1, 100, "{:.1f}", " %"),
        _number(row.held_out_top5, 100, "{:.1f}", " %"),
        _number(row.diversity, 1, "{:.2f}"),
        "–" if row.seconds is None else f"{row.seconds['total']:.4f}",
    )


def _number(estimate: Estimate | None, factor: float, form: str, unit: str = "") -> str:
    if estimate is None:
        return "–"
    value, low, high = (form.format(x * factor) for x in (estimate.value, estimate.low, estimate.high))
    return f"{value}{unit} [{low}, {high}]"


def write_json(path: Path, rows: Sequence[Row], about: Mapping[str, Any]) -> None:
    """Write the rows and `about` (sizes, device, judge) aside, then move the file into place."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    content = {"schema": SCHEMA, **about, "rows": [row_json(row) for row in rows]}
    aside.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    os.replace(aside, path)
