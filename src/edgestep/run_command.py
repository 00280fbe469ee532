"""The command that runs one model file on arrays: what a person without the device was missing."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgestep.artifact import BadInput

if TYPE_CHECKING:
    from edgestep.harness.model_run import ModelRun


def run(
    file: Annotated[Path, typer.Argument(help="A model: .mlpackage, .onnx or .xml.")],
    inputs: Annotated[Path, typer.Option(help="A .npz with an array for each input, by name.")],
    out: Annotated[Path, typer.Option("--out", help="The .npz to write: an array for each output, by name.")],
    runtime: Annotated[
        str | None, typer.Option(help="What runs it; the evaluator for a .mlpackage, Core ML itself on a Mac.")
    ] = None,
    numerics: Annotated[
        str | None, typer.Option(help="The evaluator's: fp16 rounds what the program has in float16, fp32 nothing.")
    ] = None,
    function: Annotated[str, typer.Option(help="A function of a multi-function .mlpackage; its default one.")] = "",
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Also write shapes and ranges to this file as JSON.")
    ] = None,
) -> None:
    """Run any model file once: ONNX, OpenVINO, or an ML Program of Core ML, on a machine without Core ML too."""
    from edgestep.harness.model_run import text_from_figures
    from edgestep.runtimes.array_files import feeds_from_arrays, read_arrays, write_arrays
    from edgestep.runtimes.registry import open_session, runtime_for_file

    if out.suffix != ".npz":
        raise BadInput(f"got --out {out}; expected a name that ends in .npz; choose one")
    arrays = read_arrays(inputs)
    name = runtime or runtime_for_file(file)
    options = _options(name, numerics, function)
    with open_session(name, file, **options) as session:
        feeds, converted = feeds_from_arrays(arrays, session.inputs)
        outputs = session.run(feeds)
        report = _report(file, name, session, outputs, converted, options)
        overflow = getattr(session, "overflow", None)
    write_arrays(out, outputs)
    _write_json(json_file, report)
    for line in converted:
        print(f"converted {line}")
    for figures in report.outputs:
        print(text_from_figures(figures))
    if overflow:
        print(overflow)
    print(f"{out}: {len(outputs)} output{'s' * (len(outputs) != 1)} of {file.name} on {_called(report)}")


def _options(runtime: str, numerics: str | None, function: str) -> dict[str, Any]:
    """Return the session's options; raise BadInput where the runtime has no such one."""
    from edgestep.runtimes.registry import COREML_RUNTIMES, EVALUATED

    takers = {"numerics": tuple(EVALUATED), "function": COREML_RUNTIMES}
    given = {name: value for name, value in (("numerics", numerics), ("function", function)) if value}
    for name in given:
        if runtime not in takers[name]:
            raise BadInput(f"got --{name} for the runtime {runtime}; expected it for Core ML packages; leave it out")
    return given


def _called(report: "ModelRun") -> str:
    from edgestep.harness.results import EVALUATED

    evaluated = f" (evaluated in {report.numerics}, not Core ML itself)" if report.evidence == EVALUATED else ""
    return f"{report.runtime}{evaluated}"


def _report(
    file: Path, runtime: str, session: Any, outputs: Any, converted: tuple[str, ...], options: dict[str, Any]
) -> "ModelRun":
    from edgestep.artifact import tool_versions
    from edgestep.harness.machine import machine_here
    from edgestep.harness.model_run import ModelRun, OverflowFound, figures_of
    from edgestep.harness.parity.check import evidence_of
    from edgestep.harness.results import EVALUATED

    overflow, evidence = getattr(session, "overflow", None), evidence_of(runtime)
    return ModelRun(
        machine=machine_here(),
        tools=tool_versions("onnxruntime", "openvino", "coremltools", "torch", "numpy"),
        file=str(file),
        runtime=runtime,
        evidence=evidence,
        inputs=tuple(session.inputs),
        outputs=tuple(figures_of(name, array) for name, array in outputs.items()),
        numerics=options.get("numerics", "fp16") if evidence == EVALUATED else "",
        function=options.get("function", ""),
        converted=converted,
        overflow=OverflowFound(overflow.op, overflow.location, overflow.count) if overflow else None,
    )


def _write_json(path: Path | None, report: "ModelRun") -> None:
    if path is None:
        return
    from edgestep.harness.plain import plain_from
    from edgestep.harness.written import write_text

    write_text(path, json.dumps(plain_from(report), indent=1, allow_nan=False) + "\n")
