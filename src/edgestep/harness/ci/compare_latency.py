"""The warm median of one artifact, before and after: worse only where both runs could be compared and surely differ."""

import math

from edgestep.harness.ci.comparison import LATENCY, Change, Found, Note
from edgestep.harness.figures import time_text
from edgestep.harness.machine import Machine
from edgestep.harness.results import ArtifactResult, LatencyResult, Results

MACHINE_FACTS = ("processor", "architecture", "cores", "flags", "accelerator")
"""What makes a machine another one; its memory, its kernel and its Python do not."""


def compare_latency(old: Results, one: ArtifactResult, new: Results, other: ArtifactResult, margin: float) -> Found:
    """Compare p50: disjoint 95 % intervals and a ratio beyond 1 + `margin`; what hinders it is a note."""
    before, after = one.latency, other.latency
    if before is None or before.failure:
        return Found()
    if after is None:
        return Found(notes=(Note(one.name, LATENCY, "timed before, not timed now"),))
    if after.failure:
        lost = Change(one.name, LATENCY, time_text(before.p50_s), "no time", after.failure, before.p50_s)
        return Found(worse=(lost,))
    hindrance = _hindrance(before, before.machine or old.machine, after, after.machine or new.machine)
    if hindrance:
        return Found(notes=(Note(one.name, LATENCY, f"latency is not compared: {hindrance}"),))
    return _compare_medians(one.name, before, after, margin)


def _compare_medians(name: str, before: LatencyResult, after: LatencyResult, margin: float) -> Found:
    slower = after.interval_s[0] > before.interval_s[1]
    faster = after.interval_s[1] < before.interval_s[0]
    ratio = after.p50_s / before.p50_s
    reason = f"{abs(ratio - 1):.0%} {'slower' if slower else 'faster'}, 95 % intervals disjoint"
    texts = (_text(before), _text(after))
    change = Change(name, LATENCY, *texts, reason, before.p50_s, after.p50_s)
    if slower and ratio > 1 + margin:
        return Found(worse=(change,))
    return Found(better=(change,)) if faster and ratio < 1 / (1 + margin) else Found()


def _hindrance(before: LatencyResult, here: Machine, after: LatencyResult, there: Machine) -> str:
    """Return why the two medians cannot be held against each other, "" where they can."""
    if before.kind != "real" or after.kind != "real":
        return "an emulated time is not one"
    for fact in MACHINE_FACTS:
        first, second = getattr(here, fact), getattr(there, fact)
        if first != second:
            return f"another machine ({fact} {_fact(first)} before, {_fact(second)} now)"
    for setting in ("threads", "runtime"):
        first, second = getattr(before, setting), getattr(after, setting)
        if first != second:
            return f"other settings ({setting} {_fact(first)} before, {_fact(second)} now)"
    figures = (before.p50_s, after.p50_s, *before.interval_s, *after.interval_s)
    if not all(math.isfinite(figure) and figure > 0 for figure in figures):
        return "a median or its interval is missing"
    return ""


def _fact(value: object) -> str:
    if isinstance(value, tuple):
        return "+".join(str(item) for item in value) or "none"
    return str(value) or "none"


def _text(latency: LatencyResult) -> str:
    low, high = (time_text(end) for end in latency.interval_s)
    return f"{time_text(latency.p50_s)} ({low} – {high})"
