"""The command that tells where an artifact goes wrong."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from edgestep.artifact import Artifact
    from edgestep.harness.bisection.results import Bisected, BisectReport


def bisect(
    artifact: Annotated[Path, typer.Argument(help="A split artifact's folder.")],
    reference: Annotated[Path, typer.Option(help="A reference bundle with taps: 'edgestep reference ... --taps'.")],
    out: Annotated[Path | None, typer.Option(help="Folder for bisect.md, the whole table, and bisect.svg.")] = None,
    runtime: Annotated[
        str | None, typer.Option(help="onnxruntime, openvino or mil-evaluator; the artifact's own by default.")
    ] = None,
    limit: Annotated[
        float | None, typer.Option(help="Local SQNR in dB below which a module is suspect; the scheme's by default.")
    ] = None,
    keep_fp32: Annotated[
        Path | None, typer.Option(help="Write the modules that should stay float, for 'edgestep quantize --keep-fp32'.")
    ] = None,
    keep: Annotated[int, typer.Option(min=1, help="How many quantized modules that list names, beside suspects.")] = 8,
    threads: Annotated[int, typer.Option(min=1, help="Threads of the runtime.")] = 2,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Also write the result to this file as JSON.")
    ] = None,
) -> int:
    """Compare an artifact with PyTorch module by module; name the first that is wrong. Exit status 1 if one is."""
    from edgestep.artifact import read_artifact
    from edgestep.harness.bisection.bisect import bisect_artifact
    from edgestep.harness.bisection.keep_list import keep_list, write_keep_list
    from edgestep.harness.bisection.text import text_from_bisected
    from edgestep.harness.plain import plain_from
    from edgestep.harness.reference.bundle import read_reference
    from edgestep.harness.reference.taps import read_taps
    from edgestep.harness.written import write_text
    from edgestep.progress import teller

    bundle = read_reference(reference)
    taps = read_taps(reference, bundle)
    found = bisect_artifact(artifact, bundle, taps, runtime=runtime, limit_db=limit, threads=threads, tell=teller())
    manifest = read_artifact(artifact, verify=False)
    if json_file is not None:
        write_text(json_file, json.dumps(plain_from(_report(manifest, found)), indent=1, allow_nan=False) + "\n")
    print(text_from_bisected(found, manifest.name))
    if out is not None:
        _write_pages(out, manifest.name, found)
    if keep_fp32 is not None:
        names = keep_list(found, keep)
        write_keep_list(keep_fp32, names)
        print(f"{keep_fp32}: {len(names)} modules to keep float")
    return 1 if found.suspects else 0


def _write_pages(out: Path, name: str, found: "Bisected") -> None:
    from edgestep.harness.bisection.plot import plot_from_bisected
    from edgestep.harness.bisection.text import markdown_from_bisected
    from edgestep.harness.written import write_text

    write_text(out / "bisect.md", markdown_from_bisected(found, name))
    write_text(out / "bisect.svg", plot_from_bisected(found, name))
    print(f"{out / 'bisect.md'}, {out / 'bisect.svg'}")


def _report(artifact: "Artifact", found: "Bisected") -> "BisectReport":
    from edgestep.artifact import tool_versions
    from edgestep.harness.bisection.results import BISECT_SCHEMA, BISECT_VERSION, BisectedArtifact, BisectReport
    from edgestep.harness.machine import machine_here
    from edgestep.harness.results import Schema

    row = BisectedArtifact(
        name=artifact.name,
        target=artifact.target,
        scheme=artifact.scheme,
        layout=artifact.layout,
        format=artifact.format,
        bytes=artifact.bytes,
        bisect=found,
    )
    tools = tool_versions("onnxruntime", "openvino", "numpy")
    return BisectReport(Schema(BISECT_SCHEMA, BISECT_VERSION), machine_here(), tools, artifact.contract, (row,))
