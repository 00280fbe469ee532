"""The commands that try layers: sensitivity; and what quantize does for `--scheme mixed` of ONNX and OpenVINO."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgestep.prompt_file import calibration_prompts

if TYPE_CHECKING:
    from edgestep.artifact import Artifact
    from edgestep.search.results import MixedReport

WIDTHS_OF = {"w8a8": ("w8a8",), "w8": ("w8",), "w4": ("w4-32",)}
"""Scheme -> the width that its layers are tried at."""

Ray = Annotated[
    str | None,
    typer.Option(help="Spread trials over a Ray cluster: auto, host:port, or local. Every node sees the same folders."),
]


def sensitivity(
    artifact: Annotated[Path, typer.Argument(help="A float artifact's folder, ONNX or OpenVINO.")],
    out: Annotated[Path, typer.Option("--out", help="Folder for the table, plot, JSON, and finished trials.")],
    scheme: Annotated[str, typer.Option(help=f"What each layer becomes: {', '.join(WIDTHS_OF)}.")] = "w8a8",
    widths: Annotated[
        str | None, typer.Option(help="Widths in place of the scheme's: w4-32,w8. Each layer is tried at each.")
    ] = None,
    cases: Annotated[int, typer.Option(min=1, help="Pictures that every trial draws: prompts x 2 noises.")] = 8,
    prompts: Annotated[
        Path | None,
        typer.Option(help="A text file, one prompt a line; the checkpoint's own or a built-in list by default."),
    ] = None,
    ray: Ray = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Also write the result to this file as JSON.")
    ] = None,
) -> None:
    """Quantize each layer alone and tell what it does to x0 and to the pictures. Run again, it goes on."""
    from edgestep.progress import teller
    from edgestep.search.plot import plot_from_sensitivity
    from edgestep.search.sensitivity import Request, measure_sensitivity
    from edgestep.search.text import markdown_from_sensitivity, text_from_sensitivity

    request = Request(artifact, _widths(scheme, widths), calibration_prompts(prompts, artifact), cases, ray=ray)
    report = measure_sensitivity(request, out, teller())
    _write(out / "sensitivity.json", _json(report))
    _write(out / "sensitivity.md", markdown_from_sensitivity(report))
    _write(out / "sensitivity.svg", plot_from_sensitivity(report))
    if json_file is not None:
        _write(json_file, _json(report))
    print(text_from_sensitivity(report))
    print(f"{out / 'sensitivity.md'}, {out / 'sensitivity.svg'}, {out / 'sensitivity.json'}")


def _widths(scheme: str, widths: str | None) -> tuple[str, ...]:
    from edgestep.artifact import BadInput

    if widths is not None:
        return tuple(dict.fromkeys(part.strip() for part in widths.split(",") if part.strip()))
    if scheme not in WIDTHS_OF:
        raise BadInput(f"got --scheme {scheme!r}; expected one of {', '.join(WIDTHS_OF)}; or name --widths")
    return WIDTHS_OF[scheme]


def _json(report: Any) -> str:
    from edgestep.harness.plain import plain_from

    return json.dumps(plain_from(report), indent=1, allow_nan=False) + "\n"


def _write(path: Path, text: str) -> None:
    from edgestep.harness.written import write_text

    write_text(path, text)


@dataclass(frozen=True)
class MixedOptions:
    """What `quantize --scheme mixed` was given for ONNX and OpenVINO: exactly one of the first four.

    `report` is the folder for the front, its plot and the finished trials, None for one beside the artifact.
    """

    budget_bytes: int | None = None
    budget_fraction: float | None = None
    max_latency_ratio: float | None = None
    gate: str | None = None
    prompts: Path | None = None
    ray: str | None = None
    report: Path | None = None
    threads: int | None = None

    @property
    def given(self) -> tuple[str, ...]:
        """Return the names of the goals that were given."""
        names = ("budget_bytes", "budget_fraction", "max_latency_ratio", "gate")
        return tuple(f"--{name.replace('_', '-')}" for name in names if getattr(self, name) is not None)

    def refuse(self, scheme: str, form: str) -> None:
        """Raise BadInput where a goal or a cluster was given to what does not search."""
        given = (*self.given, *(("--ray",) if self.ray is not None else ()))
        if given:
            from edgestep.artifact import BadInput

            raise BadInput(
                f"got {' and '.join(given)} for {scheme} of {form}; expected them with mixed of ONNX or OpenVINO; "
                "leave them out"
            )


def quantize_mixed(artifact: Path, out: Path, options: MixedOptions) -> "Artifact":
    """Search the width of each layer for one goal, write that artifact to `out`, and the search's report beside it.

    Run again after it was stopped, it goes on. Raises BadInput where not exactly one goal is given, for a goal that
    cannot be reached, and as `measure_sensitivity` does.
    """
    from edgestep.artifact import BadInput, check_writable
    from edgestep.progress import teller
    from edgestep.search.sensitivity import Request

    if len(options.given) != 1:
        raise BadInput(
            f"got {' and '.join(options.given) or 'no goal'} for mixed; expected one of --budget-bytes, "
            "--budget-fraction, --max-latency-ratio and --gate; give one"
        )
    check_writable(out)
    tell = teller()
    folder = options.report or out.with_name(f"{out.name}.search")
    request = Request(artifact, (), calibration_prompts(options.prompts, artifact), ray=options.ray)
    if options.max_latency_ratio is not None:
        from edgestep.search.fast import search_fast

        ratio, threads = options.max_latency_ratio, options.threads
        made, report = search_fast(request, ratio, out, folder, threads=threads, tell=tell)
    else:
        from edgestep.search.mixed import Goal, search_mixed, write_mixed

        goal = Goal(options.budget_bytes, options.budget_fraction, options.gate)
        report = search_mixed(request, goal, folder, tell)
        made = write_mixed(request, report, out, tell)
    _write_front(folder, report)
    return made


def _write_front(folder: Path, report: "MixedReport") -> None:
    from edgestep.search.plot import plot_from_mixed
    from edgestep.search.text import markdown_from_mixed, text_from_mixed

    _write(folder / "mixed.json", _json(report))
    _write(folder / "mixed.md", markdown_from_mixed(report))
    _write(folder / "mixed.svg", plot_from_mixed(report))
    print(text_from_mixed(report))
    print(f"{folder / 'mixed.md'}, {folder / 'mixed.svg'}, {folder / 'mixed.json'}")
