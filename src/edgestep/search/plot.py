"""Reports -> SVG files: what each layer alone costs, in two panels, and the bytes of assignments against quality."""

import math
from collections.abc import Callable, Sequence
from itertools import groupby, pairwise

from edgestep.harness.figures import size_text
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
from edgestep.search.results import LayerSensitivity, MixedReport, Point, SensitivityReport
from edgestep.search.text import by_size, decibels, similarity

LEFT, RIGHT = 7.0, 99.0
"""A panel's sides in % of the width."""
PANEL, GAP, TOP = 190, 50, 62
NAMED = 5
"""Layers of a panel that are called by name: the worst."""
LEAST_SSIM_LOSS = 1e-5
STYLE = """
text { font: 12px system-ui, Arial, sans-serif; fill: #444 } .title { font-weight: 600; fill: #111 }
.grid { stroke: #ddd } .edge { stroke: #999; stroke-dasharray: 2 3 } .name {
 fill: #111; paint-order: stroke; stroke: #fff; stroke-width: 3px }
.w0 { fill: #1f5fbf } .w1 { fill: #c07a1f } .w2 { fill: #2f8f4e } .w3 { fill: #8a3fa0 } .w4 { fill: #a03f4f }
.float { fill: none; stroke: #888; stroke-width: 1.2 }
.front { stroke: #1f5fbf } .chosen { fill: #c0392b } .uniform { fill: #888 } .dominated { fill: #b9c9e4 }
"""


def plot_from_sensitivity(report: SensitivityReport) -> str:
    """Return a whole SVG file: x0 SQNR above (quality), loss of image SSIM below (content), a dot for each layer."""
    widths = tuple(dict.fromkeys(row.width for row in report.layers))
    bottom = TOP + 2 * PANEL + GAP
    worst = report.ranked[0].layer if report.layers else "none"
    svg = _svg(
        "sensitivity",
        f"{report.artifact}: each layer quantized alone",
        f"{len(report.layers)} trials of one layer, worst of {report.cases} cases; the worst layer is {worst}",
        bottom + 58,
    )
    panels = (
        ("x0 SQNR, dB: quality", lambda row: row.figures.x0_sqnr_db, lambda tick: f"{tick:g}"),
        ("loss of image SSIM: content", _ssim_loss_db, lambda tick: f"{10 ** (-tick / 10):.0e}"),
    )
    for i, (name, value, label) in enumerate(panels):
        _draw_panel(svg, report.layers, widths, name, TOP + i * (PANEL + GAP), value, label)
    _draw_components(svg, report.layers, widths, bottom)
    _draw_legend(svg, widths, bottom + 40)
    return text_from_svg(svg) + "\n"


def _ssim_loss_db(row: LayerSensitivity) -> float:
    """Return -10 log10(1 - SSIM): the lower, the worse, as of a SQNR."""
    loss = 1 - row.figures.image_ssim
    return math.nan if math.isnan(loss) else -10 * math.log10(max(loss, LEAST_SSIM_LOSS))


def _svg(identity: str, title: str, description: str, height: float) -> Element:
    svg = new_svg(identity, title, description, height)
    svg.set("xmlns", "http://www.w3.org/2000/svg")
    style = Element("style")
    style.text = STYLE
    svg.append(style)
    add_text(svg, LEFT, 18, title, kind="title")
    return svg


def _draw_panel(
    svg: Element,
    rows: Sequence[LayerSensitivity],
    widths: Sequence[str],
    name: str,
    top: float,
    value: Callable[[LayerSensitivity], float],
    label: Callable[[float], str],
) -> None:
    places = _places(rows)
    values = {id(row): value(row) for row in rows}
    known = [row for row in rows if math.isfinite(values[id(row)]) and values[id(row)] < MAX_DECIBELS]
    ticks = ticks_of_linear_axis(
        min([values[id(r)] for r in known], default=0), max([values[id(r)] for r in known], default=60)
    )
    add_text(svg, LEFT, top - 8, name, kind="name")
    for tick in ticks:
        y = _y(tick, ticks, top, PANEL)
        add_line(svg, (LEFT, y), (RIGHT, y), "grid")
        add_text(svg, LEFT, y + 4, label(tick), anchor="end", dx=-6)
    for row in known:
        kind = "float" if row.stays_float else f"w{widths.index(row.width) % 5}"
        add_dot(svg, places[row.component, row.layer], _y(values[id(row)], ticks, top, PANEL), 3, kind, _tip(row))
    taken: list[tuple[float, float]] = []
    for row in sorted(known, key=lambda row: values[id(row)])[:NAMED]:
        x, y = places[row.component, row.layer], _y(values[id(row)], ticks, top, PANEL) + 4
        while any(abs(y - other) < 13 and abs(x - place) < 35 for place, other in taken):
            y -= 13
        taken.append((x, y))
        near_end = x > 60
        add_text(svg, x, y, _short(row.layer), anchor="end" if near_end else "start", kind="name",
                 dx=-7 if near_end else 7)  # fmt: skip


def _places(rows: Sequence[LayerSensitivity]) -> dict[tuple[str, str], float]:
    """Return (component, layer) -> x in %: each layer once, in the order of the graphs."""
    layers = list(dict.fromkeys((row.component, row.layer) for row in rows))
    return {layer: LEFT + (RIGHT - LEFT) * (i + 0.5) / len(layers) for i, layer in enumerate(layers)}


def _y(value: float, ticks: Sequence[float], top: float, height: float) -> float:
    return top + height * (ticks[-1] - min(max(value, ticks[0]), ticks[-1])) / (ticks[-1] - ticks[0])


def _short(layer: str) -> str:
    """unet.down_blocks.0.attentions.0.transformer_blocks.0.ff.net.2/MatMul -> down_blocks.0…ff.net.2."""
    parts = layer.split("/", maxsplit=1)[0].split(".")
    return ".".join(parts[1:]) if len(parts) <= 6 else f"{'.'.join(parts[1:3])}…{'.'.join(parts[-3:])}"


def _draw_components(svg: Element, rows: Sequence[LayerSensitivity], widths: Sequence[str], bottom: float) -> None:
    del widths
    places = _places(rows)
    for component, layers in groupby(places, key=lambda layer: _part(*layer)):
        first = places[next(layers)]
        add_line(svg, (first, TOP), (first, bottom), "edge")
        add_text(svg, first, bottom + 16, component, dx=3)


def _part(component: str, layer: str) -> str:
    """Return what a layer is of, in a fused graph too."""
    return layer.split(".", maxsplit=1)[0] if component == "generator" else component


def _draw_legend(svg: Element, widths: Sequence[str], y: float) -> None:
    for i, width in enumerate(widths):
        add_dot(svg, LEFT + 12 * i + 0.5, y - 4, 4, f"w{i % 5}")
        add_text(svg, LEFT + 12 * i + 1.5, y, width)
    x = LEFT + 12 * len(widths)
    add_dot(svg, x + 0.5, y - 4, 4, "float")
    add_text(svg, x + 1.5, y, "stays float in the scheme")


def _tip(row: LayerSensitivity) -> str:
    return (
        f"{row.layer}, {row.width}: x0 SQNR {decibels(row.figures.x0_sqnr_db)} dB, "
        f"image SSIM {similarity(row.figures.image_ssim)}, PSNR {decibels(row.figures.image_psnr_db)} dB"
    )


def plot_from_mixed(report: MixedReport) -> str:
    """Return a whole SVG file: worst image PSNR against the bytes of the graphs, the front as a line."""
    points = [p for p in by_size(report.points) if math.isfinite(p.figures.image_psnr_db)]
    height = 300
    svg = _svg(
        "front",
        f"{report.artifact}: worst image PSNR against the bytes of the graphs",
        "; ".join(f"{p.name}: {p.figures.bytes:,} bytes, {decibels(p.figures.image_psnr_db)} dB" for p in points),
        TOP + height + 62,
    )
    megabytes = [p.figures.bytes / 1e6 for p in points]
    values = [min(p.figures.image_psnr_db, 80.0) for p in points]
    across = ticks_of_linear_axis(min(megabytes, default=0) * 0.95, max(megabytes, default=1) * 1.02)
    up = ticks_of_linear_axis(min(values, default=0) - 1, max(values, default=60) + 1)
    _draw_axes(svg, across, up, height)
    places = [(_across(x, across), _y(y, up, TOP, height)) for x, y in zip(megabytes, values, strict=True)]
    front = [place for place, p in zip(places, points, strict=True) if not p.dominated]
    for start, end in pairwise(front):
        add_line(svg, start, end, "front")
    for (x, y), point in zip(places, points, strict=True):
        add_dot(svg, x, y, 5, _kind(point), f"{point.name}: {size_text(point.figures.bytes)}, "
                f"{decibels(point.figures.image_psnr_db)} dB")  # fmt: skip
        near_end = x > 80
        add_text(svg, x, y + (17 if point.dominated else -9), point.name, kind="name",
                 anchor="end" if near_end else "start", dx=-4 if near_end else 4)  # fmt: skip
    for i, (kind, name) in enumerate(KINDS.items()):
        add_dot(svg, LEFT + 16 * i + 0.5, TOP + height + 42, 4, kind)
        add_text(svg, LEFT + 16 * i + 1.5, TOP + height + 46, name)
    return text_from_svg(svg) + "\n"


KINDS = {"chosen": "written", "w0": "mixed", "dominated": "dominated", "uniform": "one width for all"}


def _kind(point: Point) -> str:
    if point.chosen:
        return "chosen"
    return "uniform" if point.uniform else "dominated" if point.dominated else "w0"


def _across(megabytes: float, ticks: Sequence[float]) -> float:
    return LEFT + (RIGHT - LEFT) * (megabytes - ticks[0]) / (ticks[-1] - ticks[0])


def _draw_axes(svg: Element, across: Sequence[float], up: Sequence[float], height: float) -> None:
    for tick in up:
        y = _y(tick, up, TOP, height)
        add_line(svg, (LEFT, y), (RIGHT, y), "grid")
        add_text(svg, LEFT, y + 4, f"{tick:g} dB", anchor="end", dx=-6)
    for tick in across:
        x = _across(tick, across)
        add_line(svg, (x, TOP + height), (x, TOP + height + 5), "edge")
        add_text(svg, x, TOP + height + 19, f"{tick:g} MB", anchor="end" if tick == across[-1] else "middle")
