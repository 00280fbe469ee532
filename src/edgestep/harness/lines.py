"""One result -> the few plain lines that a command prints."""

from edgestep.harness.figures import (
    interval_text,
    limit_text,
    measure_name,
    measure_text,
    ratio_text,
    size_text,
    time_text,
)
from edgestep.harness.results import LatencyResult, ParityResult, Ratio
from edgestep.harness.summary import VERDICT_WORDS


def text_from_parity(result: ParityResult) -> str:
    """Return the verdict, then a line per gate: mark, measure, worst figure, limit, case."""
    lines = [f"{VERDICT_WORDS[result.verdict]}: {result.reason}".rstrip(": ")]
    marks = {True: "ok  ", False: "FAIL", None: "--  "}
    for gate in result.gates:
        figure, limit = measure_text(gate.measure, gate.worst), limit_text(gate.limit)
        line = f"{marks[gate.passed]} {measure_name(gate.measure):26} {figure:>10}  {limit:16} {gate.case}"
        lines.append(f"{line} {gate.reason}".rstrip())
    return "\n".join(lines)


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
