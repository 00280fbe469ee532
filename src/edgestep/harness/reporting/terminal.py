"""Results -> the summary as a rich table for a terminal."""

from rich.table import Table
from rich.text import Text

from edgestep.harness.reporting.summary import COLUMNS, VERDICT_WORDS, rows_from_results
from edgestep.harness.results import FAILED, PASSED, UNDECIDED, Results

_LEFT = {"target", "scheme", "layout", "parity"}
_STYLES = {VERDICT_WORDS[PASSED]: "green", VERDICT_WORDS[FAILED]: "bold red", VERDICT_WORDS[UNDECIDED]: "yellow"}


_WIDE_ONLY = {"SSIM", "x0 SQNR", "p90", "first run", "load"}
WIDE = 140
"""Columns of text that the whole table needs."""


def table_from_results(results: Results, width: int = WIDE) -> Table:
    """Return one row per artifact, with fewer figures where fewer than `WIDE` columns of text are there.

    Texts are literal: rich's markup in a name means nothing.
    """
    shown = [i for i, column in enumerate(COLUMNS) if width >= WIDE or column not in _WIDE_ONLY]
    table = Table(box=None, pad_edge=False, header_style="bold", show_edge=False)
    for column in (COLUMNS[i] for i in shown):
        table.add_column(column, justify="left" if column in _LEFT else "right", no_wrap=True)
    for row in rows_from_results(results):
        table.add_row(
            *(
                Text(cell, style=_STYLES.get(cell.removesuffix(" (evaluated)"), ""))
                for cell in (row.cells[i] for i in shown)
            )
        )
    return table
