"""One result -> the few plain lines that a command prints."""

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
from edgestep.harness.reporting.summary import VERDICT_WORDS
from edgestep.harness.results import (
    DEVICE,
    FAILED,
    PASSED,
    REPORTED,
    UNDECIDED,
    UNREACHABLE,
    GateResult,
    LatencyResult,
    ParityResult,
    Ratio,
)

MARKS = {PASSED: "ok  ", REPORTED: "ok  ", FAILED: "FAIL", UNDECIDED: "--  ", UNREACHABLE: "--  "}
FAILURES = 12
"""Failed cases of one gate that are listed at most; the JSON has them all."""


def text_from_parity(result: ParityResult) -> str:
    """Return the verdict, then a line per gate: mark, measure, worst figure, limit, case, median with its interval.

    Below a gate that failed stand its failed cases, and at the end what drew the reference.
    """
    verdict = f"{VERDICT_WORDS[result.verdict]}{'' if result.evidence == DEVICE else f', {result.called}'}"
    lines = [f"{verdict}: {result.reason}".rstrip(": ")]
    for gate in result.gates:
        lines += [_gate_line(gate), *_failed_cases(gate)]
    if result.reference_label:
        lines.append(f"reference: {result.reference_label}")
    return "\n".join(lines)


def _gate_line(gate: GateResult) -> str:
    figure, limit = measure_text(gate.measure, gate.worst, gate.limit), limit_text(gate.limit)
    line = f"{MARKS[gate.word]} {measure_name(gate.measure):26} {figure:>12}  {limit:16} {gate.case:15}"
    by_hand = f"OVERRIDDEN, the scheme's gate is {limit_text(gate.scheme_limit)}" if gate.scheme_limit else ""
    remarks = (median_text(gate) if gate.count > 1 else "", by_hand, gate.reason)
    return f"{line} {'; '.join(filter(None, remarks))}".rstrip()


def _failed_cases(gate: GateResult) -> list[str]:
    if gate.passed is not False:
        return []
    shown = [
        f"       {failure.case}: {measure_text(gate.measure, failure.value, gate.limit)}"
        for failure in gate.failures[:FAILURES]
        if gate.count  # a structural gate's figure counts cases, and its reason is told
    ]
    more = len(gate.failures) - len(shown)
    return [*shown, *([f"       and {more} more: see the JSON"] if shown and more else [])]


def text_from_latency(latency: LatencyResult) -> str:
    """Return load, first run, warm quantiles and memory on one line, or why there are none."""
    if latency.failure:
        return f"not timed: {latency.failure}"
    low, high = (time_text(bound) for bound in latency.interval_s)
    return (
        f"{latency.kind}, load {time_text(latency.load_s)}, first {time_text(latency.first_s)}, "
        f"p50 {time_text(latency.p50_s)} ({low} – {high}), p90 {time_text(latency.p90_s)}, "
        f"p99 {time_text(latency.p99_s)}, peak {size_text(latency.peak_anonymous_bytes)} anonymous, "
        f"{latency.threads} threads"
    )


def text_from_ratio(ratio: Ratio) -> str:
    """Return how many times faster `of` is than `over`, with the interval."""
    if ratio.failure:
        return f"{ratio.name}: not compared: {ratio.failure}"
    times, interval = ratio_text(ratio.ratio), interval_text(ratio.interval)
    return f"{ratio.of} is {times} as fast as {ratio.over} ({interval}, interleaved)"
