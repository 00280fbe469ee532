"""The commands. They compose the rooms; nothing else does.

Exit status: 0 done, 1 a gate did not pass, 2 bad usage or bad input, with one line that says what to do.
"""

import errno
import io
import json
import os
import sys
import warnings
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer

from edgestep import distill_commands
from edgestep.artifact import Artifact, BadInput, check_writable, read_artifact, tool_versions
from edgestep.bisect_command import bisect
from edgestep.ci_commands import Junit, Markdown, compare, schema, write_for_ci
from edgestep.progress import teller
from edgestep.prompt_file import calibration_prompts, lines_of
from edgestep.run_command import run
from edgestep.search_commands import MixedOptions, quantize_mixed, sensitivity
from edgestep.source_options import sizes_from_options, takes_source
from edgestep.targets import TARGETS, Target

UsageError: Any = typer.BadParameter.__base__
"""Typer brings a click of its own since 0.26, and used click's before: this is the class in both."""

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, help=__doc__)

ArtifactFolder = Annotated[Path, typer.Argument(help="An artifact folder: one with edgestep.json.")]
Out = Annotated[Path, typer.Option("--out", help="Where to write; new or empty.")]
JsonFile = Annotated[Path | None, typer.Option("--json", help="Also write the result to this file as JSON.")]
Runtime = Annotated[
    str | None,
    typer.Option(
        help="onnxruntime, onnxruntime-cuda, openvino, mil-evaluator, coreml or coreml-cpu, -gpu, -ane; the "
        "artifact's own by default."
    ),
]
Prompts = Annotated[
    Path | None,
    typer.Option(help="A text file, one prompt a line; the checkpoint's own or a built-in list by default."),
]


def main() -> None:
    """Run the command line; every error that a user can cause ends in one line on stderr and exit status 2."""
    _prepare_streams()
    try:
        status = app(sys.argv[1:] or ["--help"], standalone_mode=False)
    except BadInput as error:
        status = _complain(str(error))
    except UsageError as error:
        where = error.ctx.command_path if error.ctx else "edgestep"
        status = _complain(f"{error.format_message()} See '{where} --help'.")
    except typer.Abort:
        status = 130
    except KeyboardInterrupt:
        status = _complain("interrupted; finished stages are kept, run the same command again to go on", 130)
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS}:
            raise
        status = _complain(
            f"got '{error.strerror}' while writing {error.filename or 'a file'}; expected room to write; "
            "free some, or choose another --out; finished stages are kept"
        )
    sys.exit(status if isinstance(status, int) else 0)


def _prepare_streams() -> None:
    """Keep libraries' chatter out of stderr unless -W or their own variables ask for it; survive a small code page."""
    for name in ("TRANSFORMERS_VERBOSITY", "DIFFUSERS_VERBOSITY"):
        os.environ.setdefault(name, "error")
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a Windows console may lack a sign that a table uses


def _complain(line: str, status: int = 2) -> int:
    print(f"edgestep: {' '.join(line.split())}", file=sys.stderr)
    return status


def _write_json(path: Path | None, value: Any) -> None:
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(value, indent=1, allow_nan=False) + "\n")


@app.command()
@takes_source
def ship(
    source: Any,
    target: Annotated[list[str], typer.Option(help="A target; give it again for more. See 'edgestep targets'.")],
    out: Annotated[Path, typer.Option("--out", help="Where to; a folder of an earlier ship is gone on with.")],
    cases: Annotated[int, typer.Option(min=1, help="Cases of the reference bundle.")] = 8,
    prompts: Prompts = None,
    device: Annotated[str, typer.Option(help="What draws the reference: cpu, cuda, mps, or auto.")] = "auto",
    threads: Annotated[int, typer.Option(min=1, help="Threads of every timed process.")] = 2,
    json_file: JsonFile = None,
    junit: Junit = None,
    markdown: Markdown = None,
) -> int:
    """Export, quantize, check, time and report: the main job. Run again, it keeps what is finished."""
    from edgestep.harness.reporting.markdown import markdown_from_results
    from edgestep.harness.results import FAILED, UNDECIDED, write_results
    from edgestep.ship.run import ShipRequest
    from edgestep.ship.run import ship as run_ship

    request = ShipRequest(
        source=source,
        name=source.name,
        targets=tuple(target),
        out=out,
        cases=cases,
        prompts=lines_of(prompts),
        device=_device(device),
        threads=threads,
    )
    results = run_ship(request, teller())
    if json_file is not None:
        write_results(results, json_file)
    write_for_ci(results, junit=junit, markdown=markdown)
    print(markdown_from_results(results))
    print(f"Report: {out / 'report.html'}\nJSON:   {out / 'report.json'}\nArtifacts: {out / 'artifacts'}")
    words = {FAILED: "failed", UNDECIDED: "is undecided"}
    verdicts = {a.name: a.parity.verdict for a in results.artifacts if a.parity is not None}
    for verdict, word in words.items():
        if names := [name for name, found in verdicts.items() if found == verdict]:
            print(f"Parity {word}: {', '.join(names)}", file=sys.stderr)
    return 1 if set(verdicts.values()) & set(words) else 0


@app.command()
@takes_source
def inspect(source: Any, json_file: JsonFile = None) -> None:
    """Tell what a checkpoint is: family, timestep, formula, sizes, what folds, what memory export needs."""
    from edgestep.export.inspect import inspect_checkpoint, text_from_inspection
    from edgestep.export.source.checkpoint import open_source
    from edgestep.harness.plain import plain_from

    inspection = inspect_checkpoint(open_source(source))
    _write_json(json_file, plain_from(inspection))
    print(text_from_inspection(inspection))


@app.command()
@takes_source
def export(
    source: Any,
    out: Out,
    format: Annotated[str, typer.Option(help="onnx, openvino or coreml.")] = "onnx",
    precision: Annotated[str, typer.Option(help="fp32 or fp16.")] = "fp32",
    layout: Annotated[str, typer.Option(help="split or fused.")] = "split",
    dynamic: Annotated[str, typer.Option(help="Sizes left open: batch, resolution, or batch,resolution.")] = "",
    image: Annotated[
        str, typer.Option("--image", help="The fused form's picture: uint8, or float32 in [0, 1].")
    ] = "uint8",
    attention: Annotated[
        str, typer.Option(help="Core ML: plain, sdpa or split-einsum; what suits --compute-unit by default.")
    ] = "",
    compute_unit: Annotated[str, typer.Option(help="Core ML: all, cpu, gpu or ane (the Neural Engine).")] = "all",
    deployment_target: Annotated[str, typer.Option(help="Core ML: iOS17, macOS14, iOS18 or macOS15.")] = "iOS17",
    chunk_mib: Annotated[
        int | None,
        typer.Option(
            help="Core ML: the denoiser in pieces of at most so many MiB of weights, 0 for one package; 1024 with "
            "--compute-unit ane for iOS."
        ),
    ] = None,
    also_size: Annotated[
        list[str] | None,
        typer.Option(
            help="Core ML, fused, from iOS 18 on: one more size, HEIGHTxWIDTH, as a function of the same package; "
            "again for more."
        ),
    ] = None,
    json_file: JsonFile = None,
) -> None:
    """Export a checkpoint to one artifact."""
    from edgestep.export.coreml.options import CoreMLOptions
    from edgestep.export.run import export as run_export
    from edgestep.export.source.checkpoint import open_source

    target = next((t.name for t in TARGETS.values() if t.format == format), "")
    artifact = run_export(
        open_source(source),
        format=format,
        precision=precision,
        layout=layout,
        target=target,
        out=out,
        dynamic=tuple(part.strip() for part in dynamic.split(",") if part.strip()),
        image=image,
        coreml=CoreMLOptions(
            attention, compute_unit, deployment_target, chunk_mib, sizes_from_options(also_size or (), "--also-size")
        ),
        tell=teller(),
    )
    _report_artifact(artifact, out, json_file)


@app.command()
def quantize(
    artifact: ArtifactFolder,
    out: Out,
    scheme: Annotated[
        str,
        typer.Option(help="w8a8, a16w8, w8, w4 or mixed; Core ML also p8, p6, p4, p2. What for: docs/quantization.md."),
    ] = "w8a8",
    prompts: Prompts = None,
    keep_fp32: Annotated[
        Path | None, typer.Option(help="A JSON list of modules that stay float, such as 'edgestep bisect' writes.")
    ] = None,
    range_rule: Annotated[
        str, typer.Option("--range", help="Of static ONNX schemes: minmax, percentile, entropy or mse.")
    ] = "minmax",
    types: Annotated[
        str | None, typer.Option(help="Of w8a8 of ONNX: u8s7, u8u8, u8s8 or s8s8; the target's own by default.")
    ] = None,
    smoothing: Annotated[
        bool, typer.Option("--smoothing", help="Of static ONNX schemes: SmoothQuant; norms then differ in a bisection.")
    ] = False,
    block_size: Annotated[
        int | None, typer.Option(help="Of w4 of ONNX and OpenVINO: 32, 64 or 128 weights share a scale.")
    ] = None,
    mean_bits: Annotated[
        float, typer.Option(min=2, max=8, help="Of mixed of Core ML: bits a weight on average, at most.")
    ] = 4.0,
    budget_bytes: Annotated[int | None, typer.Option(min=1, help="Of mixed: bytes of the graphs at most.")] = None,
    budget_fraction: Annotated[
        float | None, typer.Option(min=0.0, max=1.0, help="Of mixed: the same, over the float graphs' bytes.")
    ] = None,
    max_latency_ratio: Annotated[
        float | None, typer.Option(min=0.0, help="Of mixed: time over the float artifact's, at most.")
    ] = None,
    gate: Annotated[
        str | None, typer.Option(help="Of mixed: the smallest that keeps to it, such as 'image PSNR>=30'.")
    ] = None,
    ray: Annotated[
        str | None, typer.Option(help="Of mixed: trials on a Ray cluster: auto, host:port or local.")
    ] = None,
    json_file: JsonFile = None,
) -> None:
    """Make a smaller artifact from a float one, calibrated on what the prompts really feed it."""
    from edgestep.quantize.keep_fp32 import read_keep_fp32
    from edgestep.quantize.onnx.integer_types import types_for
    from edgestep.quantize.quantizers import Options
    from edgestep.quantize.run import check_parent
    from edgestep.quantize.run import quantize as run_quantize
    from edgestep.quantize.schemes import samples_for, scheme_for
    from edgestep.ship.coreml_evaluation import evaluate

    tell = teller()
    parent = read_artifact(artifact)
    calibrated = scheme_for(scheme, parent.format, parent.scheme).calibrated
    check_writable(out)
    keep = read_keep_fp32(keep_fp32) if keep_fp32 is not None else ()
    check_parent(artifact, parent, scheme, keep)
    search = MixedOptions(budget_bytes, budget_fraction, max_latency_ratio, gate, prompts, ray)
    if scheme == "mixed" and parent.format != "coreml":
        made = quantize_mixed(artifact, out, search)
    else:
        search.refuse(scheme, parent.format)
        options = Options(
            evaluate,
            mean_bits,
            types=types or types_for(parent.target),
            range_rule=range_rule,
            smoothing=smoothing,
            block_size=block_size,
        )
        feeds = _calibration_feeds(artifact, prompts, samples_for(scheme, parent.format), tell) if calibrated else None
        made = run_quantize(artifact, scheme=scheme, out=out, feeds=feeds, keep=keep, options=options, tell=tell)
    _report_artifact(made, out, json_file)


def _calibration_feeds(artifact: Path, prompts: Path | None, count: int, tell: Any) -> Any:
    from edgestep.ship.calibration import calibration_from_prompts

    lines = calibration_prompts(prompts, artifact)
    calibration = calibration_from_prompts(lines, count, strict=prompts is not None)
    tell(f"drawing {len(calibration.prompts)} prompts for calibration")
    return calibration.feeds(artifact)


@app.command()
@takes_source
def reference(
    source: Any,
    out: Out,
    device: Annotated[str, typer.Option(help="cpu, cuda, mps, or auto: cuda where there is one.")] = "auto",
    cases: Annotated[int, typer.Option(min=1, help="Cases: prompts x 2 noises.")] = 8,
    prompts: Prompts = None,
    taps: Annotated[
        bool, typer.Option("--taps", help="Also record what every module reads and gives, for 'edgestep bisect'.")
    ] = False,
    tap_cases: Annotated[int, typer.Option(min=1, help="Cases whose taps are recorded: the first ones.")] = 2,
    json_file: JsonFile = None,
) -> None:
    """Record what PyTorch draws, in fp32: the bundle that parity is judged against."""
    from edgestep.harness.plain import plain_from
    from edgestep.harness.reference.record import record_reference

    recorded = record_reference(
        source,
        device=_device(device),
        cases=cases,
        out=out,
        prompts=lines_of(prompts),
        tap_cases=tap_cases if taps else 0,
        tell=teller(),
    )
    _write_json(json_file, plain_from(recorded.index))
    print(f"{out}: {len(recorded.cases)} cases, {recorded.index.label}")


@app.command()
def parity(
    artifact: ArtifactFolder,
    reference: Annotated[
        Path | None, typer.Option(help="A reference bundle; the artifact's own golden one by default.")
    ] = None,
    runtime: Runtime = None,
    gate: Annotated[
        list[str] | None, typer.Option(help="A limit in place of the scheme's: 'image PSNR>=30'; again for more.")
    ] = None,
    cases: Annotated[
        int | None, typer.Option(min=1, help="Cases in all: more than the bundle's are drawn by PyTorch.")
    ] = None,
    checkpoint: Annotated[str | None, typer.Option(help="What more cases are drawn from: the bundle's own.")] = None,
    control: Annotated[
        Path | None, typer.Option(help="The naive counterpart, of 'quantize --scheme naive_w8a8': measured beside it.")
    ] = None,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds for loading, and for each case.")] = 900.0,
    keep_golden: Annotated[
        bool, typer.Option("--keep-golden", help="Keep the reference's first 4 cases in the artifact, for a device.")
    ] = False,
    json_file: JsonFile = None,
    junit: Junit = None,
    markdown: Markdown = None,
) -> int:
    """Draw the reference's cases with an artifact and gate it. Exit status 1 if it does not pass."""
    from edgestep.harness.parity.check import check_parity
    from edgestep.harness.parity.control import control_of
    from edgestep.harness.parity.golden import keep_golden as keep_golden_in
    from edgestep.harness.parity.golden import read_golden
    from edgestep.harness.reference.bundle import read_reference
    from edgestep.harness.reporting.lines import text_from_parity
    from edgestep.harness.results import FAILED, PASSED

    if keep_golden and reference is None:
        raise BadInput("got --keep-golden without --reference; expected the bundle whose cases are kept; name it")
    tell = teller()
    if reference is None:
        tell(f"parity: {artifact} against its golden bundle")
    bundle = read_golden(artifact) if reference is None else read_reference(reference)
    if keep_golden:
        keep_golden_in(artifact, bundle)
    bundle = _with_cases(bundle, cases, checkpoint, tell)
    result = check_parity(artifact, bundle, runtime=runtime, overrides=gate or (), timeout_s=timeout, tell=tell)
    beside = None if control is None else control_of(control, bundle, runtime=runtime, timeout_s=timeout, tell=tell)
    rows = [_row(artifact, parity=result, control=beside)]
    _write_results(json_file, rows)
    prompts = {case.name: case.prompt for case in bundle.cases}
    write_for_ci(_results(rows), junit=junit, markdown=markdown, prompts=prompts)
    print(text_from_parity(result))
    if beside is not None:
        print(f"\nThe naive counterpart, {beside.name}:\n{text_from_parity(beside.parity)}")
    return 0 if result.verdict == PASSED or (result.approximation and result.verdict != FAILED) else 1


@app.command()
def bench(
    artifact: ArtifactFolder,
    runtime: Runtime = None,
    against: Annotated[Path | None, typer.Option(help="Another artifact: the two in turn, and their ratio.")] = None,
    threads: Annotated[int, typer.Option(min=1, help="Threads of the runtime.")] = 2,
    json_file: JsonFile = None,
) -> None:
    """Measure load, first run, warm latency and memory in a fresh process."""
    from edgestep.harness.latency.measure import artifact_job, compare_interleaved, measure_latency
    from edgestep.harness.reporting.lines import text_from_latency, text_from_ratio

    if against is None:
        measured = [(artifact, measure_latency(artifact, runtime=runtime, threads=threads, tell=teller()))]
        ratios = ()
    else:
        one, other = (artifact_job(folder, runtime=runtime, threads=threads) for folder in (artifact, against))
        compared = compare_interleaved(one, other, runs=(5, 5), tell=teller())
        measured, ratios = [(artifact, compared.of), (against, compared.over)], (compared.ratio,)
    _write_results(json_file, [_row(folder, latency=latency) for folder, latency in measured], ratios)
    for folder, latency in measured:
        print(f"{folder}: {text_from_latency(latency)}")
    for ratio in ratios:
        print(text_from_ratio(ratio))
    failed = [latency.failure for _, latency in measured if latency.failure]
    if failed:
        raise BadInput(f"got no timing ({failed[0]}); expected the artifact to run; try 'edgestep parity' on it")


@app.command()
def report(
    results: Annotated[list[Path], typer.Argument(help="One or more report.json.")],
    out: Annotated[Path, typer.Option("--out", help="The report.html to write.")],
) -> None:
    """Write report.html from what was measured."""
    from edgestep.harness.reporting.merge import merged_results
    from edgestep.harness.reporting.report import write_report

    write_report(merged_results(results, out.parent), out, tell=teller())
    print(out)


@app.command()
def generate(
    artifact: ArtifactFolder,
    prompt: Annotated[str, typer.Argument(help="What to draw.")],
    out: Annotated[Path, typer.Option("--out", help="The PNG to write.")],
    seed: Annotated[int, typer.Option(min=0, help="Seed of the noise (numpy's PCG64).")] = 0,
    noise: Annotated[Path | None, typer.Option(help="The noise itself: a .npy, float32 [1, C, h, w].")] = None,
    runtime: Runtime = None,
) -> None:
    """Draw one picture with an artifact."""
    from edgestep.runtimes.drawing import Drawer
    from edgestep.runtimes.noise import more_noise_from_seed, noise_from_file, noise_from_seed
    from edgestep.runtimes.picture import write_picture
    from edgestep.runtimes.tokenizer import inputs_from_prompt

    if out.suffix.lower() != ".png":
        raise BadInput(f"got --out {out}; expected a name that ends in .png; choose one")
    with Drawer(artifact, runtime=runtime) as drawer:
        contract = drawer.artifact.contract
        inputs = inputs_from_prompt(artifact, contract, prompt) | more_noise_from_seed(seed, contract)
        z = noise_from_file(noise, contract) if noise else noise_from_seed(seed, contract.latent_shape)
        write_picture(drawer.draw(noise=z, **inputs).image[0], out)
    print(out)


app.add_typer(distill_commands.app, name="distill")


@app.command()
def targets(json_file: JsonFile = None) -> None:
    """List the targets, what proves them, and what is installed here."""
    rows = [{**asdict(target), "installed": _installed(target)} for target in TARGETS.values()]
    _write_json(json_file, rows)
    for row in rows:
        schemes, layouts = ", ".join(row["schemes"]), ", ".join(row["layouts"])
        here = "installed" if row["installed"] else f"needs pip install 'edgestep[{EXTRAS[row['format']]}]'"
        print(f"{row['name']:8} {row['format']:9} {schemes:18} {layouts:14} {row['proof']} ({here})")


app.command()(bisect)
app.command()(compare)
app.command()(schema)
app.command()(run)
app.command()(sensitivity)


def _with_cases(bundle: Any, cases: int | None, checkpoint: str | None, tell: Any) -> Any:
    if cases is None:
        return bundle
    from edgestep.harness.reference.more_cases import with_more_cases
    from edgestep.source_options import OPTIONS, source_from_options

    said = {name: default for name, (_, default) in OPTIONS.items()}
    source = None if checkpoint is None else source_from_options(checkpoint, **said)
    return with_more_cases(bundle, source, cases, tell=tell)


EXTRAS = {"onnx": "export", "openvino": "openvino", "coreml": "coreml"}
PACKAGES = {"onnx": "onnx", "openvino": "openvino", "coreml": "coremltools"}


def _installed(target: Target) -> bool:
    return find_spec(PACKAGES[target.format]) is not None


def _device(name: str) -> str:
    if name != "auto":
        return name
    try:
        import torch
    except ImportError as error:
        raise BadInput("got no torch here; the reference is drawn with it; pip install 'edgestep[export]'") from error
    return "cuda" if torch.cuda.is_available() else "cpu"


def _report_artifact(artifact: Artifact, out: Path, json_file: Path | None) -> None:
    _write_results(json_file, [_row(out)])
    print(f"{out}: {artifact.format} {artifact.scheme} {artifact.layout}, {artifact.bytes / 1e6:.1f} MB")


def _row(folder: Path, **measured: Any) -> Any:
    from edgestep.harness.results import result_from_artifact

    artifact = read_artifact(folder, verify=False)
    return artifact.contract, result_from_artifact(artifact, folder=str(folder), **measured)


def _write_results(path: Path | None, rows: list[Any], ratios: tuple[Any, ...] = ()) -> None:
    if path is None:
        return
    from edgestep.harness.results import write_results

    write_results(_results(rows, ratios), path)


def _results(rows: list[Any], ratios: tuple[Any, ...] = ()) -> Any:
    from edgestep.harness.machine import machine_here
    from edgestep.harness.results import Results

    tools = tool_versions("onnxruntime", "openvino", "numpy")
    artifacts = tuple(row for _, row in rows)
    return Results(machine_here(), tools, contract=rows[0][0], artifacts=artifacts, ratios=ratios)


if __name__ == "__main__":
    main()
