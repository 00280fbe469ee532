"""Bisected -> an SVG file of the error over depth: what arrives at each module, and what is made there, in dB."""

import math
from collections.abc import Sequence
from itertools import groupby, pairwise

from edgestep.harness.bisection.results import Bisected, TapError
from edgestep.harness.parity.measures import MAX_DECIBELS
from edgestep.harness.reporting.svg import (
    Element,
    add_dot,
    add_line,
    add_text,
    new_svg,
    text_from_svg,
    ticks_of_linear_axis,
)

TOP, BOTTOM, HEIGHT = 44, 380, 440
LEFT, RIGHT = 5.0, 99.0
"""The plot's sides in % of its width."""
STYLE = """
text { font: 12px system-ui, Arial, sans-serif; fill: #444 } .title { font-weight: 600; fill: #111 }
.grid { stroke: #ddd } .edge { stroke: #999; stroke-dasharray: 2 3 } .limit { stroke: #c0392b; stroke-dasharray: 6 4 }
.limit-name, .suspect-name { fill: #c0392b } .arriving { stroke: #7a8ca0; fill: #7a8ca0 }
.made { stroke: #1f5fbf; fill: #1f5fbf } .suspect { fill: #c0392b; stroke: #c0392b }
"""


def plot_from_bisected(bisected: Bisected, title: str) -> str:
    """Return a whole SVG file. Values outside 0 .. 160 dB are drawn at its edges; NaN at the bottom."""
    taps = bisected.taps
    first = bisected.suspects[0] if bisected.suspects else None
    said = f"first culprit {first.operation}" if first else "nothing below the limit"
    svg = new_svg("bisect", title, f"SQNR in dB over {len(taps)} modules in order; {said}", HEIGHT)
    svg.set("xmlns", "http://www.w3.org/2000/svg")
    style = Element("style")
    style.text = STYLE
    svg.append(style)
    ticks = ticks_of_linear_axis(0, min(160.0, max([20.0, bisected.limit_db, *_finite(taps)])))
    add_text(svg, LEFT, 18, title, kind="title")
    _draw_axes(svg, bisected, ticks)
    _draw_line(svg, [tap.cumulative_db for tap in taps], ticks, "arriving")
    for i, tap in enumerate(taps):
        place, kind = _x(i, len(taps)), "made suspect" if tap.suspect else "made"
        add_dot(svg, place, _y(tap.local_db, ticks), 4 if tap.suspect else 2, kind, _tip(tap))
    if first is not None:
        i = taps.index(first)
        near_end = i > len(taps) / 2
        x, y = _x(i, len(taps)), min(_y(first.local_db, ticks), BOTTOM - 8)
        add_text(svg, x, y, first.operation, anchor="end" if near_end else "start", kind="suspect-name",
                 dx=-8 if near_end else 8)  # fmt: skip
    return text_from_svg(svg) + "\n"


def _finite(taps: Sequence[TapError]) -> list[float]:
    values = [value for tap in taps for value in (tap.cumulative_db, tap.local_db)]
    return [value for value in values if math.isfinite(value) and value < MAX_DECIBELS]


def _x(i: int, count: int) -> float:
    return LEFT + (RIGHT - LEFT) * i / max(count - 1, 1)


def _y(decibels: float, ticks: Sequence[float]) -> float:
    if math.isnan(decibels):
        return BOTTOM
    inside = min(max(decibels, ticks[0]), ticks[-1])
    return BOTTOM - (BOTTOM - TOP) * (inside - ticks[0]) / (ticks[-1] - ticks[0])


def _draw_axes(svg: Element, bisected: Bisected, ticks: Sequence[float]) -> None:
    for tick in ticks:
        add_line(svg, (LEFT, _y(tick, ticks)), (RIGHT, _y(tick, ticks)), "grid")
        add_text(svg, LEFT, _y(tick, ticks) + 4, f"{tick:g} dB", anchor="end", dx=-6)
    y = _y(bisected.limit_db, ticks)
    add_line(svg, (LEFT, y), (RIGHT, y), "limit")
    add_text(svg, RIGHT, y - 5, f"limit {bisected.limit_db:g} dB", anchor="end", kind="limit-name")
    start = 0
    for component, taps in groupby(bisected.taps, key=lambda tap: tap.component):
        x = _x(start, len(bisected.taps))
        add_line(svg, (x, TOP), (x, BOTTOM), "edge")
        add_text(svg, x, BOTTOM + 18, component, dx=3)
        start += len(list(taps))
    add_line(svg, (LEFT, BOTTOM + 40), (LEFT + 2.5, BOTTOM + 40), "arriving")
    add_text(svg, LEFT + 3, BOTTOM + 44, "line: the error that arrives (cumulative)")
    add_dot(svg, LEFT + 45, BOTTOM + 40, 3, "made")
    add_text(svg, LEFT + 46, BOTTOM + 44, "dots: the error made there (local); the limit is on these")


def _draw_line(svg: Element, values: Sequence[float], ticks: Sequence[float], kind: str) -> None:
    places = [(_x(i, len(values)), _y(value, ticks)) for i, value in enumerate(values)]
    for start, end in pairwise(places):
        add_line(svg, start, end, kind)


def _tip(tap: TapError) -> str:
    return f"{tap.operation}: local {decibels(tap.local_db)} dB, cumulative {decibels(tap.cumulative_db)} dB"


def decibels(value: float) -> str:
    """Return one decimal, `equal` for equal tensors and `NaN` for what is not finite."""
    if math.isnan(value):
        return "NaN"
    return "equal" if value >= MAX_DECIBELS else f"{value:.1f}"
