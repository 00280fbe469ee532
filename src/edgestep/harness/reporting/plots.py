"""Results -> the report's four pictures as inline SVG: speed-up to scale, latency, where time goes, quality by size."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from edgestep.harness.figures import bounds_of, interval_text, limit_text, significant, time_text
from edgestep.harness.parity.gates import IMAGE_PSNR
from edgestep.harness.parity.measures import MAX_DECIBELS
from edgestep.harness.reporting.summary import VERDICT_WORDS, Row, Speedup, gate_of, real_latency
from edgestep.harness.reporting.svg import (
    Element,
    add_box,
    add_dot,
    add_line,
    add_text,
    new_svg,
    text_from_svg,
    ticks_of_linear_axis,
    ticks_of_log_axis,
)
from edgestep.harness.results import FAILED, PASSED, LatencyResult, Results

COMPONENT_NAMES = {
    "text_encoder": "text encoder",
    "unet": "denoiser",
    "vae_decoder": "decoder",
    "generator": "generator",
    "rest": "the rest",
}
"""Component -> what people call it, in the order in which they run. Others follow under their own name."""


def speedup_plot(speedup: Speedup) -> str:
    """Return the teacher's time and one step's as two bars on one linear scale that starts at zero."""
    interval = interval_text(speedup.interval)
    svg = new_svg(
        "speedup",
        f"One step against {speedup.over}, drawn to scale",
        f"{speedup.row.label} takes 1/{significant(speedup.ratio)} of the time of {speedup.over}"
        + (f", 95 % interval {interval}." if interval else "."),
        94,
    )
    longest = max(1.0, speedup.ratio)
    rows = (
        (speedup.over, speedup.teacher_s, speedup.ratio, "bar teacher"),
        (f"one step, {speedup.row.label}", speedup.step_s, 1.0, "bar step"),
    )
    for index, (name, seconds, length, kind) in enumerate(rows):
        y = index * 50
        add_text(svg, 0, y + 12, name, kind="name")
        add_text(svg, 100, y + 12, time_text(seconds) if math.isfinite(seconds) else "", anchor="end", kind="value")
        add_box(svg, 0, y + 20, 100 * length / longest, 18, kind)
    return text_from_svg(svg)


@dataclass(frozen=True)
class _Timed:
    label: str
    latency: LatencyResult
    kind: str


def latency_plot(results: Results, rows: Sequence[Row]) -> str:
    """Return p50 as a dot and p50 to p90 as a bar for each artifact and baseline, on a log axis; "" with no timing."""
    timed = [
        _Timed(f"{row.number}  {row.label}" + (", failed" if row.verdict == FAILED else ""), row.latency, _kind(row))
        for row in rows
        if row.latency
    ]
    baselines = [(baseline.name, real_latency(baseline.latency)) for baseline in results.baselines]
    timed += [_Timed(name, latency, "baseline") for name, latency in baselines if latency]
    timed = sorted((t for t in timed if t.latency.p50_s > 0), key=lambda t: t.latency.p50_s)
    if not timed:
        return ""
    top, pitch = 22, 38
    svg = new_svg(
        "latency",
        "Latency of one picture, fastest first",
        "Median and 90th percentile on a logarithmic axis. "
        + "; ".join(f"{t.label.strip()}: {time_text(t.latency.p50_s)} to {time_text(_p90(t))}" for t in timed),
        top + pitch * len(timed),
    )
    ticks = ticks_of_log_axis(min(t.latency.p50_s for t in timed), max(_p90(t) for t in timed))
    _draw_log_axis(svg, ticks, top + pitch * len(timed))
    for index, one in enumerate(timed):
        _draw_timed(svg, one, ticks, top + pitch * index)
    return text_from_svg(svg)


def _kind(row: Row) -> str:
    return {PASSED: "passed", FAILED: "failed"}.get(row.verdict, "unchecked")


def _p90(timed: _Timed) -> float:
    p90 = timed.latency.p90_s
    return max(p90, timed.latency.p50_s) if math.isfinite(p90) else timed.latency.p50_s


def _place(value: float, ticks: Sequence[float]) -> float:
    low, high = math.log(ticks[0]), math.log(ticks[-1])
    return 100 * (math.log(value) - low) / (high - low)


def _draw_log_axis(svg: Element, ticks: Sequence[float], bottom: float) -> None:
    long = len(ticks) > 6
    for index, tick in enumerate(ticks):
        x = _place(tick, ticks)
        round_number = abs(math.log10(tick) - round(math.log10(tick))) < 1e-6
        add_line(svg, (x, 16), (x, bottom), "grid" if round_number or not long else "grid faint")
        if round_number or not long:
            anchor = "start" if index == 0 else "end" if index == len(ticks) - 1 else "middle"
            add_text(svg, x, 11, _tick_text(tick), anchor=anchor, kind="tick")


def _tick_text(seconds: float) -> str:
    return f"{seconds:g} s" if seconds >= 1 else f"{seconds * 1e3:g} ms"


def _draw_timed(svg: Element, one: _Timed, ticks: Sequence[float], y: float) -> None:
    p50, p90 = one.latency.p50_s, _p90(one)
    tip = f"{one.label.strip()}: p50 {time_text(p50)}, p90 {time_text(p90)}"
    add_text(svg, 0, y + 15, one.label, kind="name")
    add_text(svg, 100, y + 15, time_text(p50), anchor="end", kind="value")
    add_line(svg, (0, y + 27), (100, y + 27), "track")
    start, end = _place(p50, ticks), _place(p90, ticks)
    add_box(svg, start, y + 24, end - start, 6, f"range {one.kind}", tip)
    add_dot(svg, start, y + 27, 5, f"dot {one.kind}", tip)


def component_order(names: Sequence[str]) -> list[str]:
    """Return component names in the order in which they run, unknown ones before the rest."""
    known = list(COMPONENT_NAMES)
    return sorted(names, key=lambda name: known.index(name) if name in known else len(known) - 1.5)


def stacked(results: Results, rows: Sequence[Row]) -> list[tuple[str, LatencyResult]]:
    """Return label and latency of what is timed in two graphs or more: a fused artifact is one."""
    timed = [(f"{row.number}  {row.label}", row.latency) for row in rows]
    timed += [(baseline.name, real_latency(baseline.latency)) for baseline in results.baselines]
    return [(label, latency) for label, latency in timed if latency and len(set(latency.components) - {"rest"}) > 1]


def components_plot(results: Results, rows: Sequence[Row]) -> str:
    """Return one bar of 100 % per split artifact, cut by component; "" where no time per component is known."""
    shown = stacked(results, rows)
    if not shown:
        return ""
    pitch = 46
    shares = [_shares(latency) for _, latency in shown]
    svg = new_svg(
        "components",
        "Where the time of one picture goes",
        "; ".join(
            f"{label.strip()}: " + ", ".join(f"{COMPONENT_NAMES.get(n, n)} {_percent(s)}" for n, s, _ in share)
            for (label, _), share in zip(shown, shares, strict=True)
        ),
        pitch * len(shown),
    )
    for index, ((label, _), share) in enumerate(zip(shown, shares, strict=True)):
        y = index * pitch
        add_text(svg, 0, y + 13, label, kind="name")
        add_text(svg, 100, y + 13, time_text(sum(s for _, _, s in share)), anchor="end", kind="value")
        x = 0.0
        for name, part, seconds in share:
            tip = f"{COMPONENT_NAMES.get(name, name)}: {time_text(seconds)}, {_percent(part)}"
            add_box(svg, x, y + 19, 100 * part, 20, f"part {component_class(name)}", tip)
            if part >= 0.095:
                add_text(svg, x + 50 * part, y + 33, _percent(part), anchor="middle", kind="in")
            x += 100 * part
    return text_from_svg(svg)


def component_class(name: str) -> str:
    """Return the CSS class that colours a component: "unet" -> "part-1"; names that are not known share one."""
    known = ("text_encoder", "unet", "vae_decoder", "rest")
    return f"part-{known.index(name)}" if name in known else "part-4"


def _percent(part: float) -> str:
    return f"{100 * part:.0f} %"


def _shares(latency: LatencyResult) -> list[tuple[str, float, float]]:
    seconds = {name: s for name, s in latency.components.items() if math.isfinite(s) and s >= 0}
    total = sum(seconds.values()) or 1.0
    return [(name, seconds[name] / total, seconds[name]) for name in component_order(list(seconds))]


@dataclass(frozen=True)
class _Point:
    row: Row
    megabytes: float
    psnr: float
    limit: float | None


def quality_points(rows: Sequence[Row]) -> list[_Point]:
    """Return the artifacts that have a worst PSNR, infinite where the pictures are equal."""
    points = []
    for row in rows:
        gate = gate_of(row.artifact, IMAGE_PSNR)
        if gate is not None and not math.isnan(gate.worst) and gate.worst > -math.inf:
            bounds = bounds_of(gate.limit)
            psnr = math.inf if gate.worst >= MAX_DECIBELS else gate.worst
            points.append(_Point(row, row.artifact.bytes / 1e6, psnr, bounds[0] if bounds else None))
    return points


def quality_plot(rows: Sequence[Row]) -> str:
    """Return worst PSNR over size, with each artifact's gate as a dashed line and its margin as a stem; "" if none."""
    points = quality_points(rows)
    if not points:
        return ""
    finite = [p.psnr for p in points if math.isfinite(p.psnr)] + [p.limit for p in points if p.limit is not None]
    low, high = min([*finite, 40.0]), max([*finite, 45.0])
    axes = ticks_of_linear_axis(0, max(p.megabytes for p in points) * 1.08), ticks_of_linear_axis(low - 2, high + 2)
    svg = new_svg(
        "quality",
        "Worst PSNR of a picture against the size of the artifact",
        "; ".join(
            f"{p.row.number} {p.row.label}: {significant(p.megabytes)} MB, {significant(p.psnr)} dB"
            if math.isfinite(p.psnr)
            else f"{p.row.number} {p.row.label}: {significant(p.megabytes)} MB, equal"
            for p in points
        ),
        _BOTTOM + 24,
    )
    _draw_quality_axes(svg, *axes)
    _draw_gates(svg, points, axes[1])
    places = [_point_place(p, *axes) for p in points]
    for point, place in zip(points, places, strict=True):
        _draw_point(svg, point, place, axes[1])
    _draw_numbers(svg, points, places)
    return text_from_svg(svg)


_TOP, _BOTTOM = 24, 320
_NARROW = 330
"""Width in pixels at which labels are checked for collisions: the plot on a small phone."""


def _height(psnr: float, ticks: Sequence[float]) -> float:
    if math.isinf(psnr):
        return _TOP
    return _BOTTOM - (_BOTTOM - _TOP) * (psnr - ticks[0]) / (ticks[-1] - ticks[0])


def _point_place(point: _Point, sizes: Sequence[float], decibels: Sequence[float]) -> tuple[float, float]:
    return 100 * point.megabytes / (sizes[-1] or 1), _height(point.psnr, decibels)


def _draw_quality_axes(svg: Element, sizes: Sequence[float], decibels: Sequence[float]) -> None:
    for tick in decibels:
        y = _height(tick, decibels)
        add_line(svg, (0, y), (100, y), "grid faint")
        add_text(svg, 0, y - 4, f"{tick:g} dB" if tick == decibels[-1] else f"{tick:g}", kind="tick")
    for index, tick in enumerate(sizes):
        anchor = "start" if index == 0 else "end" if index == len(sizes) - 1 else "middle"
        x = 100 * tick / (sizes[-1] or 1)
        add_line(svg, (x, _BOTTOM), (x, _BOTTOM + 5), "grid")
        add_text(svg, x, _BOTTOM + 19, f"{tick:g} MB" if tick == sizes[-1] else f"{tick:g}", anchor=anchor, kind="tick")
    add_line(svg, (0, _BOTTOM), (100, _BOTTOM), "grid")


def _draw_gates(svg: Element, points: Sequence[_Point], decibels: Sequence[float]) -> None:
    schemes: dict[float, list[str]] = {}
    for point in points:
        if point.limit is not None:
            schemes.setdefault(point.limit, []).append(point.row.artifact.scheme)
    for limit, names in schemes.items():
        y = _height(limit, decibels)
        add_line(svg, (0, y), (100, y), "gate")
        text = f"gate of {', '.join(dict.fromkeys(names))}: {limit_text(f'>= {limit:g}')}"
        add_text(svg, 100, y + 13, text, anchor="end", kind="gate-name")


def _draw_point(svg: Element, point: _Point, place: tuple[float, float], decibels: Sequence[float]) -> None:
    x, y = place
    kind = _kind(point.row)
    if point.limit is not None:
        add_line(svg, (x, _height(point.limit, decibels)), (x, y), f"stem {kind}")
    psnr = "equal" if math.isinf(point.psnr) else f"{significant(point.psnr)} dB"
    tip = f"{point.row.label}: {significant(point.megabytes)} MB, {psnr}, {VERDICT_WORDS[point.row.verdict]}"
    add_dot(svg, x, y, 6, f"dot {kind}", tip)


def _draw_numbers(svg: Element, points: Sequence[_Point], places: Sequence[tuple[float, float]]) -> None:
    """Write each point's number beside it, where it covers no other; points at one place share a text: `1, 2`."""
    groups: list[list[int]] = []
    for index, (x, y) in enumerate(places):
        near = (g for g in groups if abs(x - places[g[0]][0]) / 100 * _NARROW < 12 and abs(y - places[g[0]][1]) < 10)
        group = next(near, None)
        if group is None:
            groups.append([index])
        else:
            group.append(index)
    taken = [(x / 100 * _NARROW - 7, y - 7, x / 100 * _NARROW + 7, y + 7) for x, y in places]
    for group in groups:
        text = ", ".join(str(points[i].row.number) for i in group)
        x, y, anchor, dx, box = _free_place(text, [places[i] for i in group], taken)
        taken.append(box)
        add_text(svg, x, y, text, anchor=anchor, kind="number", dx=dx)


_Box = tuple[float, float, float, float]


def _free_place(
    text: str, places: Sequence[tuple[float, float]], taken: Sequence[_Box]
) -> tuple[float, float, str, float, _Box]:
    """Return (x %, baseline, anchor, dx, box in px) beside a group of dots: the place that covers least.

    Judged at the width of a phone: on a wider page the same places are only farther apart.
    """
    wide = 8.5 * len(text)
    (left, y), (right, _) = min(places), max(places)
    tries = [(right, y + 5, "start", 9), (left, y + 5, "end", -9)]
    tries += [((left + right) / 2, y + off, "middle", 0) for off in (-10, 20, -23, 33)]
    best = None
    for x, base, anchor, dx in tries:
        start = x / 100 * _NARROW + dx - wide * {"start": 0, "middle": 0.5, "end": 1}[anchor]
        box = (start, base - 11, start + wide, base + 2)
        outside = max(0.0, -start) + max(0.0, box[2] - _NARROW)
        cost = sum(_overlap(box, other) for other in taken) + 20 * outside
        if best is None or cost < best[0]:
            best = cost, (x, base, anchor, dx, box)
    assert best
    return best[1]


def _overlap(one: _Box, other: _Box) -> float:
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    return max(0.0, width) * max(0.0, height)
