"""Results -> report.html: one self-contained page that needs no network and no script.

Everything from data is escaped by Jinja's autoescape or, in plots, by ElementTree; a content security policy in the
page forbids every request but pictures that stand in the page itself.
"""

import math
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from edgestep.artifact import BadInput
from edgestep.harness.figures import (
    interval_text,
    limit_text,
    measure_name,
    measure_text,
    median_text,
    ratio_text,
    size_text,
    time_text,
)
from edgestep.harness.parity.floor import floor_texts
from edgestep.harness.reporting.advice import ADVICE_TITLE, advice_from_rows
from edgestep.harness.reporting.controls import CONTROL_COLUMNS, CONTROL_TEXT, CONTROL_TITLE, controls_from_rows
from edgestep.harness.reporting.picture_data import WIDEST, CaseView, Drawn, case_views
from edgestep.harness.reporting.plots import (
    COMPONENT_NAMES,
    component_class,
    component_order,
    components_plot,
    latency_plot,
    quality_plot,
    quality_points,
    speedup_plot,
    stacked,
)
from edgestep.harness.reporting.summary import (
    NOISY,
    VERDICT_WORDS,
    Complaint,
    Row,
    Speedup,
    best_speedup,
    complaints_from_rows,
    counts_text,
    evaluated_text,
    noisy_rows,
    real_latency,
    reference_labels,
    rows_from_results,
    shipped_text,
    teacher_of,
)
from edgestep.harness.results import FAILED, PASSED, UNCHECKED, UNDECIDED, Machine, Results
from edgestep.harness.written import write_text
from edgestep.targets import TARGETS

GALLERY = 8
"""Pictures at the top of the page at most."""

FORMAT_NAMES = {"onnx": "ONNX", "openvino": "OpenVINO IR", "coreml": "Core ML"}


def write_report(
    results: Results,
    out: Path,
    *,
    command: str = "",
    made: str = "",
    twin: str = "report.json",
    tell: Callable[[str], None] = lambda line: None,
) -> Path:
    """Write the page to the file `out` and return it.

    Pictures are read relative to `out`'s folder. `command` is what makes the results again (guessed from them where
    it is ""), `made` a date to print, `twin` the relative name of the JSON. Raises BadInput where jinja2 is missing
    or the file cannot be written; a missing or broken picture leaves a gap.
    """
    tell(f"drawing {out.name}")
    html = html_from_results(results, out.parent, command=command, made=made, twin=twin)
    write_text(out, html)
    return out


def html_from_results(
    results: Results, folder: Path, *, command: str = "", made: str = "", twin: str = "report.json"
) -> str:
    """Return the page; pictures are read relative to `folder`."""
    environment = _environment()  # first: it says what to install where jinja2 is missing
    rows = rows_from_results(results)
    values = {
        "results": results,
        "rows": rows,
        "made": made,
        "twin": twin,
        "command": command or command_for(results),
        **_headline(results, rows),
        **_table(results, rows),
        "advice": advice_from_rows(results, rows),
        "advice_title": ADVICE_TITLE,
        "controls": controls_from_rows(rows),
        "control_title": CONTROL_TITLE,
        "control_text": CONTROL_TEXT,
        "control_columns": CONTROL_COLUMNS,
        **_plots(results, rows),
        **_pictures(results, rows, folder),
        "reference_labels": reference_labels(results),
        "floor": floor_texts(results.reference_floor),
        "notes": notes_for(results, rows),
    }
    return environment.get_template("report.html.j2").render(values)


def _environment() -> Any:
    try:
        from jinja2 import Environment, PackageLoader, StrictUndefined
    except ImportError as error:
        raise BadInput("got no jinja2; expected it for the report; pip install 'edgestep[export]'") from error
    environment = Environment(
        loader=PackageLoader("edgestep.harness.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "time": time_text,
        "size": size_text,
        "ratio": ratio_text,
        "interval": interval_text,
        "limit": limit_text,
        "measure": measure_text,
        "median": median_text,
        "measure_name": measure_name,
        "real": real_latency,
    }
    return environment


def command_for(results: Results) -> str:
    """Return the command line that makes such results: the checkpoint and the targets, another output folder."""
    name = results.checkpoint.name if results.checkpoint else "CHECKPOINT"
    targets = dict.fromkeys(artifact.target for artifact in results.artifacts)
    return " ".join(["edgestep ship", shlex.quote(name), *(f"--target {shlex.quote(t)}" for t in targets), "--out DIR"])


def _headline(results: Results, rows: Sequence[Row]) -> dict[str, Any]:
    best, complaints = best_speedup(results, tuple(rows)), complaints_from_rows(tuple(rows))
    return {
        "name": shortened(results.checkpoint.name) if results.checkpoint else "",
        "shipped": shipped_text(results),
        "counts": counts_text(tuple(rows)),
        "best": best,
        "no_best": "" if best else why_no_speedup(results, rows),
        "complaints": complaints,
        "complaints_title": complaints_title(complaints),
        "any_checked": any(row.verdict != UNCHECKED for row in rows),
    }


def complaints_title(complaints: Sequence[Complaint]) -> str:
    """Return the heading of the complaints: `What failed`, `What is in doubt`, or both."""
    failed = any(complaint.failed for complaint in complaints)
    doubtful = any(not complaint.failed for complaint in complaints)
    if failed:
        return "What failed, and what is in doubt" if doubtful else "What failed"
    return "What is in doubt"


def why_no_speedup(results: Results, rows: Sequence[Row]) -> str:
    """Return the reason, in one sentence, why no artifact is compared with the teacher in the headline."""
    teacher = teacher_of(results)
    if not any(row.verdict == PASSED for row in rows):
        return "no artifact passed its gates."
    if teacher is None or real_latency(teacher.latency) is None:
        return "the teacher's sampler was not timed beside the artifacts."
    return "no artifact that passed its gates has a latency that was measured on its own device."


def shortened(name: str, most: int = 40) -> str:
    """Return a name that fits a headline: of a long path only the last part, of a long part only its start."""
    if len(name) <= most:
        return name
    last = re.split(r"[/\\]", name.rstrip("/\\"))[-1]
    return last if len(last) <= most else last[:most] + "…"


def _table(results: Results, rows: Sequence[Row]) -> dict[str, Any]:
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row.artifact.target, []).append(row)
    parities = [row.artifact.parity for row in rows if row.artifact.parity]
    return {
        "groups": list(groups.items()),
        "formats": FORMAT_NAMES,
        "words": VERDICT_WORDS,
        "proofs": {name: TARGETS[name].proof if name in TARGETS else "" for name in groups},
        "case_count": max([len(results.cases), *(parity.cases for parity in parities)]),
        "gate_count": sum(len(parity.gates) for parity in parities),
        "absent": _absent(rows),
    }


def _absent(rows: Sequence[Row]) -> list[tuple[list[str], list[Row]]]:
    """Return (names of measures that cannot be taken, the rows of which that holds)."""
    found: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        if row.artifact.parity and row.artifact.parity.absent:
            found.setdefault(row.artifact.parity.absent, []).append(row)
    return [([measure_name(measure) for measure in measures], members) for measures, members in found.items()]


def _plots(results: Results, rows: Sequence[Row]) -> dict[str, Any]:
    from markupsafe import Markup

    plotted = {point.row.number for point in quality_points(rows)}
    best: Speedup | None = best_speedup(results, tuple(rows))
    names = component_order(list({name for _, latency in stacked(results, rows) for name in latency.components}))
    return {
        "speedup_plot": Markup(speedup_plot(best)) if best else "",
        "latency_plot": Markup(latency_plot(results, rows)),
        "quality_plot": Markup(quality_plot(rows)),
        "components_plot": Markup(components_plot(results, rows)),
        "components": [(name, COMPONENT_NAMES.get(name, name), component_class(name)) for name in names],
        "quality_numbers": plotted,
        "not_plotted": [row for row in rows if row.number not in plotted],
    }


def _pictures(results: Results, rows: Sequence[Row], folder: Path) -> dict[str, Any]:
    views = case_views(results, tuple(rows), folder)
    drawn = {d.row.number for view in views for d in view.drawn}
    best = best_speedup(results, tuple(rows))
    passed = [row for row in rows if row.verdict == PASSED and row.number in drawn]
    shown = best.row if best and best.row.number in drawn else passed[0] if passed else None
    return {
        "views": views,
        "gallery": _gallery(views, shown),
        "gallery_row": shown,
        "not_drawn": [row for row in rows if row.number not in drawn],
        "shrunk": any(max(view.size) > WIDEST for view in views),
        "reference_name": reference_name(reference_machine_of(results)),
        "reference_machine": reference_machine_of(results),
        "inf": math.inf,
    }


def _gallery(views: Sequence[CaseView], shown: Row | None) -> list[tuple[CaseView, Drawn]]:
    """Return the first picture of each prompt, drawn by `shown`."""
    if shown is None:
        return []
    pairs: dict[str, tuple[CaseView, Drawn]] = {}
    for view in views:
        for drawn in view.drawn:
            if drawn.row.number == shown.number:
                pairs.setdefault(view.prompt, (view, drawn))
    return list(pairs.values())[:GALLERY]


def reference_machine_of(results: Results) -> Machine | None:
    """Return the machine that recorded the reference bundle, where the results tell."""
    told = [a.parity.reference_machine for a in results.artifacts if a.parity and a.parity.reference_machine]
    return results.reference_machine or (told[0] if told else None)


def reference_name(machine: Machine | None) -> str:
    """Return how pictures call the reference: `PyTorch, CPU fp32`, or with the GPU's name where one drew it."""
    if machine is None:
        return "PyTorch fp32, device not recorded"
    return f"PyTorch, CUDA fp32, {machine.accelerator}" if machine.accelerator else "PyTorch, CPU fp32"


def notes_for(results: Results, rows: Sequence[Row]) -> list[tuple[str, str]]:
    """Return (term, sentences): what the words of this report mean and where its figures are weak."""
    verdicts = {row.verdict for row in rows}
    notes = [
        (
            "Passed",
            "Every gate of the artifact's scheme holds in its worst case. "
            "A gate is never loosened so that an artifact passes.",
        )
    ]
    if said := evaluated_text(tuple(rows)):
        notes.append(("Graph parity", said))
    unchecked = {is_approximation(row) for row in rows if row.verdict == UNCHECKED}
    if True in unchecked:
        notes.append(
            (
                "Approximation",
                "A tiny decoder draws in place of the VAE. Its x0 is gated like any other's; how far its pictures are "
                "from the VAE's is reported, and it never counts as passed.",
            )
        )
    if False in unchecked:
        notes.append(
            (
                "Not checked",
                "The artifact was converted and its files were loaded back, but its pictures were not compared. "
                "It may be right; nobody has shown that it is.",
            )
        )
    if UNDECIDED in verdicts:
        notes.append(
            ("Undecided", "No gate failed, but the reference bundle cannot decide one of them; the remark says why.")
        )
    gates = [gate for row in rows if row.artifact.parity for gate in row.artifact.parity.gates]
    if any(gate.unreachable for gate in gates):
        notes.append(
            (
                "Unreachable",
                "The gate is stricter than twice the noise of PyTorch itself, so that it would be met or missed by "
                "chance. It does not pass; it fails where the artifact is farther off than twice that noise.",
            )
        )
    if any(gate.scheme_limit for gate in gates):
        notes.append(("By hand", "A gate was given on the command line in place of the scheme's own."))
    if FAILED in verdicts:
        notes.append(("Failed", "At least one gate does not hold. The artifact is kept so that it can be looked into."))
    return notes + _latency_notes(results, rows)


def is_approximation(row: Row) -> bool:
    """Tell whether a tiny decoder stands in for the VAE, so that parity says how far, not whether."""
    return row.artifact.parity is not None and row.artifact.parity.approximation


def _latency_notes(results: Results, rows: Sequence[Row]) -> list[tuple[str, str]]:
    latencies: Mapping[int, Any] = {row.number: row.artifact.latency for row in rows if row.artifact.latency}
    if not latencies:
        return [("Latency", "It was not measured.")]
    notes = [
        (
            "Latency",
            "One fresh process per artifact, one picture at a time. Load and first run stand apart; "
            "p50 and p90 are the median and the 90th percentile of the warm runs after them.",
        )
    ]
    if any(latency.kind != "real" for latency in latencies.values()):
        notes.append(
            ("Emulated", "Run on an emulator of the device. That proves the picture, not the speed: no time is shown.")
        )
    noisy = noisy_rows(tuple(rows))
    if noisy:
        names = ", ".join(f"{row.number} {row.label}" for row in noisy)
        notes.append(
            (
                "A busy machine",
                f"p90 is more than {NOISY:g} times p50 for {names}: something else ran too. "
                "Compare ratios rather than times.",
            )
        )
    if any(not row.interleaved and math.isfinite(row.teacher) for row in rows):
        notes.append(
            (
                "≈",
                "A ratio with this sign divides two medians that were taken one after the other; "
                "one without it was measured interleaved.",
            )
        )
    if results.ratios:
        notes.append(
            (
                "Ratios",
                "Both sides ran in turns in one run, so that what disturbed one disturbed the other; "
                "the interval is a 95 % bootstrap interval of the ratio of medians.",
            )
        )
    sources = sorted({latency.memory_source for latency in latencies.values() if latency.memory_source})
    notes.append(
        (
            "Peak memory",
            "What the process allocated itself (anonymous memory) at its highest"
            + (f", as told by {', '.join(sources)}." if sources else "."),
        )
    )
    return notes
