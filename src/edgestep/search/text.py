"""Reports -> the lines that a command prints, and whole tables in Markdown."""

import math
from collections.abc import Sequence

from edgestep.harness.figures import MISSING, size_text
from edgestep.harness.parity.measures import MAX_DECIBELS
from edgestep.search.results import LayerSensitivity, MixedReport, Point, SensitivityReport

SHOWN = 20
"""Layers that are printed; the files hold all."""


def text_from_sensitivity(report: SensitivityReport) -> str:
    """Return the layers that cost most, the worst first."""
    rows = report.ranked
    wide = max([len(_called(row)) for row in rows[:SHOWN]], default=0)
    head = f"{'layer':{wide}}  width   x0 SQNR  image SSIM  image PSNR"
    lines = [
        f"{_called(row):{wide}}  {row.width:6} {decibels(row.figures.x0_sqnr_db):>8}  "
        f"{similarity(row.figures.image_ssim):>10}  {decibels(row.figures.image_psnr_db):>10}"
        f"{'  stays float' if row.stays_float else ''}".rstrip()
        for row in rows[:SHOWN]
    ]
    more = [f"and {len(rows) - SHOWN} more"] if len(rows) > SHOWN else []
    title = f"{report.artifact}: each layer quantized alone, worst of {report.cases} cases"
    return "\n".join([title, head, *lines, *more])


def markdown_from_sensitivity(report: SensitivityReport) -> str:
    """Return the whole table, the worst first."""
    head = ["layer", "component", "width", "x0 SQNR, dB", "image SSIM", "image PSNR, dB", "in the scheme"]
    rows = [
        [
            f"`{_called(row)}`",
            row.component,
            row.width,
            decibels(row.figures.x0_sqnr_db),
            similarity(row.figures.image_ssim),
            decibels(row.figures.image_psnr_db),
            f"float: {row.stays_float}" if row.stays_float else "quantized",
        ]
        for row in report.ranked
    ]
    about = (
        f"Each layer quantized alone, the others float: worst of {report.cases} cases against the float artifact's own "
        f"pictures, {report.calibration} calibration samples. `untouched`: x0 is the float artifact's own."
    )
    return f"# Sensitivity of {report.artifact}\n\n{about}\n\n{_table(head, rows)}"


def text_from_mixed(report: MixedReport) -> str:
    """Return the points that were measured, the smallest first, and how many layers have which width."""
    lines = [f"{report.artifact}: {report.goal}"]
    lines += [
        f"{'->' if point.chosen else '  '} {point.name:20} {size_text(point.figures.bytes):>8}  "
        f"image PSNR {decibels(point.figures.image_psnr_db):>5} dB, SSIM {similarity(point.figures.image_ssim)}, "
        f"x0 {decibels(point.figures.x0_sqnr_db)} dB"
        for point in by_size(report.points)
    ]
    counts = ", ".join(f"{count} of {width}" for width, count in counted(report))
    return "\n".join([*lines, f"layers: {counts}", *report.repairs])


def markdown_from_mixed(report: MixedReport) -> str:
    """Return the points as a table, then the width of each layer."""
    head = ["assignment", "bytes", "of float", "image PSNR, dB", "image SSIM", "x0 SQNR, dB", ""]
    rows = [
        [
            point.name,
            f"{point.figures.bytes:,}",
            f"{point.figures.bytes / report.float_bytes:.3f}",
            decibels(point.figures.image_psnr_db),
            similarity(point.figures.image_ssim),
            decibels(point.figures.x0_sqnr_db),
            "written" if point.chosen else "dominated" if point.dominated else "",
        ]
        for point in by_size(report.points)
    ]
    widths = [[f"`{layer}`", width] for layer, width in report.widths.items()]
    about = f"Goal: {report.goal}. Worst of {report.cases} cases against the float artifact's own pictures."
    repairs = "".join(f"- {line}\n" for line in report.repairs)
    tables = f"{_table(head, rows)}\n{repairs}\n## Widths\n\n{_table(['layer', 'width'], widths)}"
    return f"# Mixed precision of {report.artifact}\n\n{about}\n\n{tables}"


def counted(report: MixedReport) -> list[tuple[str, int]]:
    """Return each width with how many layers have it, the most frequent first."""
    found = list(report.widths.values())
    return sorted(((width, found.count(width)) for width in set(found)), key=lambda pair: (-pair[1], pair[0]))


def by_size(points: Sequence[Point]) -> list[Point]:
    """Return the points, the smallest first."""
    return sorted(points, key=lambda point: (point.figures.bytes, point.name))


def decibels(value: float) -> str:
    """Return one decimal; `untouched` where nothing reached the tensor, a dash where it could not be taken."""
    if math.isnan(value):
        return MISSING
    return "untouched" if value >= MAX_DECIBELS else f"{value:.1f}"


def similarity(value: float) -> str:
    """Return four decimals, a dash where it could not be taken."""
    return MISSING if math.isnan(value) else f"{value:.4f}"


def _called(row: LayerSensitivity) -> str:
    return row.layer if row.layer.startswith(row.component.split("_")[0]) else f"{row.component}: {row.layer}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
