"""A few marks -> one inline SVG that needs no network, no script and no font, and that scales without shrinking text.

Horizontal places are percentages of the width and vertical ones are pixels, without a viewBox: the same picture is
as legible on a phone as on a desk. Text is escaped by construction (ElementTree). Colours are CSS classes, so that the
page's light and dark schemes and its print style reach them.
"""

import math
from xml.etree import ElementTree

Element = ElementTree.Element


def new_svg(identity: str, title: str, description: str, height: float) -> Element:
    """Return an empty picture, full width and `height` pixels high; title and description are for screen readers."""
    svg = Element(
        "svg",
        {
            "class": "plot",
            "role": "img",
            "width": "100%",
            "height": _number(height),
            "aria-labelledby": f"{identity}-title {identity}-desc",
        },
    )
    ElementTree.SubElement(svg, "title", {"id": f"{identity}-title"}).text = title
    ElementTree.SubElement(svg, "desc", {"id": f"{identity}-desc"}).text = description
    return svg


def add_text(
    svg: Element, x: float, y: float, text: str, *, anchor: str = "start", kind: str = "", dx: float = 0
) -> None:
    """Write `text` with its baseline at (x %, y px), moved by `dx` pixels; `kind` is a CSS class."""
    attributes = {"x": f"{_number(x)}%", "y": _number(y), "text-anchor": anchor, "class": kind, "dx": _number(dx)}
    ElementTree.SubElement(svg, "text", {k: v for k, v in attributes.items() if v not in ("", "0")}).text = text


def add_line(svg: Element, start: tuple[float, float], end: tuple[float, float], kind: str) -> None:
    """Draw a line between two points (x %, y px)."""
    (x1, y1), (x2, y2) = start, end
    places = {"x1": f"{_number(x1)}%", "y1": _number(y1), "x2": f"{_number(x2)}%", "y2": _number(y2)}
    ElementTree.SubElement(svg, "line", {**places, "class": kind})


def add_box(svg: Element, x: float, y: float, width: float, height: float, kind: str, tip: str = "") -> None:
    """Draw a rectangle: x and width in %, y and height in px; `tip` is shown when pointed at."""
    box = ElementTree.SubElement(
        svg,
        "rect",
        {
            "x": f"{_number(x)}%",
            "y": _number(y),
            "width": f"{_number(width)}%",
            "height": _number(height),
            "class": kind,
        },
    )
    if tip:
        ElementTree.SubElement(box, "title").text = tip


def add_dot(svg: Element, x: float, y: float, radius: float, kind: str, tip: str = "") -> None:
    """Draw a circle at (x %, y px)."""
    places = {"cx": f"{_number(x)}%", "cy": _number(y), "r": _number(radius), "class": kind}
    dot = ElementTree.SubElement(svg, "circle", places)
    if tip:
        ElementTree.SubElement(dot, "title").text = tip


def text_from_svg(svg: Element) -> str:
    """Return the picture as markup to set into a page."""
    return ElementTree.tostring(svg, encoding="unicode")


def round_down(value: float) -> float:
    """Return the largest of … 0.1, 0.2, 0.5, 1, 2, 5, 10 … that is not above `value`."""
    power = 10.0 ** math.floor(math.log10(value))
    return max(step * power for step in (1, 2, 5) if step * power <= value * (1 + 1e-9))


def ticks_of_log_axis(low: float, high: float) -> list[float]:
    """Return 1, 2, 5 steps from at most `low` to at least `high`: (0.003, 0.8) -> [0.002, 0.005, …, 0.5, 1]."""
    ticks = [round_down(low)]
    while ticks[-1] < high * (1 - 1e-9) or len(ticks) < 2:
        ticks.append(_next_step(ticks[-1]))
    return ticks


def _next_step(tick: float) -> float:
    power = 10.0 ** math.floor(math.log10(tick) + 1e-9)
    lead = round(tick / power)
    return {1: 2, 2: 5, 5: 10}[lead] * power


def ticks_of_linear_axis(low: float, high: float, most: int = 6) -> list[float]:
    """Return round steps that cover low to high, about `most` of them: (0, 23) -> [0, 5, 10, 15, 20, 25]."""
    span = max(high - low, 1e-9)
    step = next(s for s in _steps(span / most) if span / s <= most)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [index * step for index in range(first, last + 1)]


def _steps(least: float) -> list[float]:
    power = 10.0 ** math.floor(math.log10(least))
    return [lead * power for lead in (1, 2, 5, 10, 20)]


def _number(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")
