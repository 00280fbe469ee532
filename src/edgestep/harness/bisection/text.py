"""Bisected -> text for people: the culprit in one line, the table over depth, and what was not compared."""

from collections.abc import Sequence

from edgestep.harness.bisection.plot import decibels
from edgestep.harness.bisection.results import Bisected, TapError

SHOWN = 12
NAMED = 3
"""Modules that a line on what was not compared names."""


def text_from_bisected(bisected: Bisected, name: str) -> str:
    """Return the verdict, the suspects or the worst modules with their place in depth, and what was left out."""
    suspects = bisected.suspects
    rows = suspects or bisected.ranked
    what = "suspect, in order" if suspects else "worst by local error"
    lines = [verdict(bisected, name), "", *_table(bisected, rows[:SHOWN])]
    shown = min(SHOWN, len(rows))
    lines += ["", f"{shown} of {len(rows)} {what}; {len(bisected.taps)} places compared in {len(bisected.cases)} cases"]
    lines += [f"not compared, {line}" for line in not_compared(bisected)]
    return "\n".join(lines)


def verdict(bisected: Bisected, name: str) -> str:
    """Return one line: the first culprit's module and operator, or that nothing is wrong."""
    if not bisected.suspects:
        worst = bisected.ranked[0]
        return (
            f"{name}: nothing is wrong, each of {len(bisected.taps)} pieces has {bisected.limit_db:g} dB or more from "
            f"PyTorch's own inputs; the worst is {worst.module} {worst.op}, {decibels(worst.local_db)} dB"
        )
    first = bisected.suspects[0]
    others = len(bisected.suspects) - 1
    among = f", one of {', '.join(first.ops)}" if len(first.ops) > 1 else ""
    more = f"; {others} more below" if others else ""
    return (
        f"{name}: first culprit {first.module} {first.op}{among}: {decibels(first.local_db)} dB from PyTorch's own "
        f"inputs, expected {bisected.limit_db:g} or more{more}"
    )


def markdown_from_bisected(bisected: Bisected, name: str) -> str:
    """Return the whole table over depth."""
    lines = [f"# {name}", "", verdict(bisected, name), ""]
    lines += ["| depth | module | op | cumulative dB | local dB | case |", "|---|---|---|---|---|---|"]
    for depth, tap in enumerate(bisected.taps, 1):
        mark = "**" if tap.suspect else ""
        errors = f"{decibels(tap.cumulative_db)} | {mark}{decibels(tap.local_db)}{mark}"
        lines.append(f"| {depth} | {mark}{tap.module}{mark} | {', '.join(tap.ops)} | {errors} | {tap.case} |")
    lines += ["", *(f"Not compared, {line}." for line in not_compared(bisected))]
    return "\n".join(lines) + "\n"


def not_compared(bisected: Bisected) -> list[str]:
    """Return component, reason, how many taps, and some of them."""
    lines = [
        f"{component}: {reason}: {len(names)} ({', '.join(names[:NAMED])}{', ...' if len(names) > NAMED else ''})"
        for component, reasons in bisected.unplaced.items()
        for reason, names in reasons.items()
    ]
    return lines + ([f"too large to record: {bisected.too_large}"] if bisected.too_large else [])


def _table(bisected: Bisected, rows: Sequence[TapError]) -> list[str]:
    depth = {id(tap): i for i, tap in enumerate(bisected.taps, 1)}
    cells = [("depth", "module", "op", "cumulative dB", "local dB")]
    for tap in rows:
        errors = decibels(tap.cumulative_db), decibels(tap.local_db)
        cells.append((str(depth[id(tap)]), tap.module, ", ".join(tap.ops), *errors))
    widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
    return [_line(row, widths) for row in cells]


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    """Return one row: names to the left, numbers to the right."""
    sides = zip(row, widths, strict=True)
    return "  ".join(cell.ljust(width) if 0 < i < 3 else cell.rjust(width) for i, (cell, width) in enumerate(sides))
