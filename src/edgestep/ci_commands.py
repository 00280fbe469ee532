"""What a CI asks for: compare two results, the JSON Schema of every file, JUnit XML and a job's summary."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

Junit = Annotated[Path | None, typer.Option(help="Also write JUnit XML: a test case per gate of each artifact.")]
Markdown = Annotated[
    Path | None, typer.Option(help="Also write a Markdown summary; $GITHUB_STEP_SUMMARY is appended to.")
]
Json = Annotated[Path | None, typer.Option("--json", help="Also write the result to this file as JSON.")]


def write_for_ci(
    results: Any, *, junit: Path | None, markdown: Path | None, prompts: Mapping[str, str] | None = None
) -> None:
    """Write the files that were asked for from a `Results`; `prompts` is case name -> prompt."""
    from edgestep.harness.ci.junit import junit_from_results
    from edgestep.harness.reporting.markdown_gates import markdown_with_gates
    from edgestep.harness.written import write_text

    if junit is not None:
        write_text(junit, junit_from_results(results, prompts))
    if markdown is not None:
        write_summary(markdown, markdown_with_gates(results))


def write_summary(path: Path, text: str) -> None:
    """Write `path` anew; append where it is the job's summary, which other commands of the step write to as well."""
    from edgestep.harness.written import add_text, write_text

    summary = os.environ.get("GITHUB_STEP_SUMMARY")
    if summary and path.resolve() == Path(summary).resolve():
        add_text(path, text + "\n")
    else:
        write_text(path, text)


def compare(
    old: Annotated[Path, typer.Argument(help="An earlier report.json, or what --json wrote.")],
    new: Annotated[Path, typer.Argument(help="A later one.")],
    gate_margin: Annotated[
        float, typer.Option(min=0, help="Share of the room to its limit that a figure may lose and still pass.")
    ] = 0.25,
    latency_margin: Annotated[
        float,
        typer.Option(min=0, help="How much slower a median may be where the intervals are disjoint; 0.1 is 10 %."),
    ] = 0.10,
    size_margin: Annotated[float, typer.Option(min=0, help="How much larger an artifact may be; 0.01 is 1 %.")] = 0.01,
    markdown: Markdown = None,
    json_file: Json = None,
) -> int:
    """Tell what got worse between two results. Exit status 1 if something did."""
    from edgestep.harness.ci.compare import compare_results
    from edgestep.harness.ci.comparison import Margins
    from edgestep.harness.ci.comparison_text import markdown_from_comparison, text_from_comparison
    from edgestep.harness.plain import plain_from
    from edgestep.harness.results import read_results
    from edgestep.harness.written import write_text

    margins = Margins(gate_margin, latency_margin, size_margin)
    comparison = compare_results(read_results(old), read_results(new), margins)
    if json_file is not None:
        write_text(json_file, json.dumps(plain_from(comparison), indent=1, allow_nan=False) + "\n")
    if markdown is not None:
        write_summary(markdown, markdown_from_comparison(comparison))
    print(text_from_comparison(comparison))
    return 1 if comparison.worse else 0


def schema(
    name: Annotated[str, typer.Argument(help="report, parity, reference, artifact, comparison or bisect.")],
) -> None:
    """Print the JSON Schema (draft 2020-12) of what edgestep writes."""
    from edgestep.harness.ci.schema import schema_named

    print(json.dumps(schema_named(name), indent=1))
