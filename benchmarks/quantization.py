"""Every scheme of ONNX and OpenVINO on one checkpoint: worst case of many, bytes over fp32, and the bars.

    python benchmarks/quantization.py --work build/quantization                          the bundled generator, 64 cases
    python benchmarks/quantization.py --work build/outliers --checkpoint DIR             a checkpoint of yours

What is in `--work` from an earlier run is kept. `mixed` is searched at the bytes of `w4` where `--mixed` is given.
"""

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from edgestep.artifact import Artifact, BadInput, read_artifact
from edgestep.export.graph.graphs import Graphs
from edgestep.export.recipe.contract import contract_from_checkpoint
from edgestep.export.run import export
from edgestep.export.source.checkpoint import checkpoint_folder, open_checkpoint
from edgestep.export.source.source import Source
from edgestep.harness.parity.check import check_parity
from edgestep.harness.parity.gates import IMAGE_PSNR, IMAGE_SSIM, NOISE_SENSITIVITY, PROMPT_SENSITIVITY, X0_SQNR
from edgestep.harness.plain import from_plain, plain_from
from edgestep.harness.reference.bundle import Reference, read_reference
from edgestep.harness.reference.prompts import prompts_for
from edgestep.harness.reference.record import record_reference
from edgestep.harness.results import ParityResult
from edgestep.quantize.quantizers import QUANTIZERS, Options
from edgestep.quantize.run import quantize
from edgestep.quantize.schemes import SCHEMES, samples_for
from edgestep.search_commands import MixedOptions, quantize_mixed
from edgestep.ship.calibration import calibration_from_prompts

TARGETS = {"onnx": "x86", "openvino": "intel"}
SCHEME_ORDER = ("w8a8", "a16w8", "naive_w8a8", "w8", "w4")
MEASURES = (IMAGE_PSNR, IMAGE_SSIM, X0_SQNR, PROMPT_SENSITIVITY, NOISE_SENSITIVITY)


@dataclass(frozen=True)
class Bar:
    """What an issue asks of a scheme: worst image PSNR in dB, worst SSIM, and graph bytes over fp32's."""

    psnr: float
    ssim: float = 0.0
    fraction: float = 1.0


BARS = {"w8a8": Bar(30.0, 0.95), "w8": Bar(38.0, fraction=0.28), "w4": Bar(27.0, fraction=0.17)}


def main() -> int:
    """Make, measure and print; exit status 1 where a bar is not reached."""
    given = _arguments()
    folder = checkpoint_folder(given.checkpoint)
    told = Console(stderr=True)
    reference = _reference(folder, given.work, given.cases)
    table = Table(
        "format", "layout", "scheme", "verdict", "PSNR", "SSIM", "x0", "prompt s.", "noise s.", "bytes/fp32", "bar"
    )
    missed = 0
    for form in given.formats:
        for layout in given.layouts:
            parent = _parent(folder, form, layout, given.work)
            whole = graph_bytes(read_artifact(parent))
            schemes = [name for name in SCHEME_ORDER if (form, name) in QUANTIZERS and name in given.schemes]
            made = [_quantized(parent, name, given.work, told) for name in schemes]
            if given.mixed:
                made.append(_mixed(parent, given.work))
            for artifact in made:
                result = _measured(artifact, reference, told)
                fraction = graph_bytes(read_artifact(artifact)) / whole
                cells, reached = _cells(read_artifact(artifact), result, fraction)
                missed += not reached
                table.add_row(*cells)
    Console(width=160).print(table)
    return 1 if missed else 0


def graph_bytes(artifact: Artifact) -> int:
    """Return the bytes of the graphs and their weights: tokenizers and cards are not what a scheme makes smaller."""
    graphs = (".onnx", ".onnx.data", ".bin", ".xml")
    return sum(f.bytes for f in artifact.files if f.path.endswith(graphs) and "tokenizer" not in f.path)


def _reference(folder: Path, work: Path, cases: int) -> Reference:
    out = work / f"reference-{cases}"
    if not out.exists():
        record_reference(Source(folder), device="cpu", cases=cases, out=out, prompts=prompts_for(folder))
    return read_reference(out)


def _parent(folder: Path, form: str, layout: str, work: Path) -> Path:
    out = work / f"{form}-{layout}-fp32"
    if not out.exists():
        checkpoint = open_checkpoint(folder)
        graphs = Graphs(checkpoint, contract_from_checkpoint(checkpoint))
        export(checkpoint, format=form, precision="fp32", layout=layout, target=TARGETS[form], out=out, graphs=graphs)
    return out


def _quantized(parent: Path, scheme: str, work: Path, told: Console) -> Path:
    out = parent.with_name(parent.name.replace("fp32", scheme))
    if not out.exists():
        told.print(f"making {out.name}", style="dim")
        feeds, form = None, read_artifact(parent, verify=False).format
        if SCHEMES[scheme].calibrated:
            feeds = calibration_from_prompts(prompts_for(parent), samples_for(scheme, form)).feeds(parent)
        quantize(parent, scheme=scheme, out=out, feeds=feeds, options=Options())
    return out


def _mixed(parent: Path, work: Path) -> Path:
    out = parent.with_name(parent.name.replace("fp32", "mixed"))
    if not out.exists():
        budget = graph_bytes(read_artifact(parent.with_name(parent.name.replace("fp32", "w4"))))
        quantize_mixed(parent, out, MixedOptions(budget_bytes=budget))
    return out


def _measured(artifact: Path, reference: Reference, told: Console) -> ParityResult:
    """Check parity, or read the result that an earlier run left of the same artifact and bundle."""
    kept = artifact.with_name(f"{artifact.name}.json")
    key = [read_artifact(artifact, verify=False).key, reference.index.tensors_sha256]
    if kept.is_file() and (raw := json.loads(kept.read_text()))["key"] == key:
        return from_plain(ParityResult, raw["parity"])
    told.print(f"measuring {artifact.name}", style="dim")
    result = check_parity(artifact, reference)
    kept.write_text(json.dumps({"key": key, "parity": plain_from(result)}))
    return result


def _cells(artifact: Artifact, result: ParityResult, fraction: float) -> tuple[tuple[str, ...], bool]:
    worst = {gate.measure: gate.worst for gate in result.gates}
    figures = [f"{worst[name]:.4g}" if name in worst else "-" for name in MEASURES]
    bar = BARS.get(artifact.scheme)
    reached = bar is None or (
        worst[IMAGE_PSNR] >= bar.psnr and worst[IMAGE_SSIM] >= bar.ssim and fraction <= bar.fraction
    )
    text = "" if bar is None else "reached" if reached else "MISSED"
    head = (artifact.format, artifact.layout, artifact.scheme, result.verdict)
    return (*head, *figures, f"{fraction:.4f}", text), reached


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="where everything is kept")
    parser.add_argument("--checkpoint", default="emoji", help="a diffusers folder, or emoji")
    parser.add_argument("--cases", type=int, default=64, help="prompts x noises of the reference")
    parser.add_argument("--formats", nargs="+", default=list(TARGETS), choices=list(TARGETS))
    parser.add_argument("--layouts", nargs="+", default=["split", "fused"], choices=["split", "fused"])
    parser.add_argument("--schemes", nargs="+", default=list(SCHEME_ORDER), choices=list(SCHEME_ORDER))
    parser.add_argument("--mixed", action="store_true", help="search mixed at the bytes of w4 as well: long")
    return parser.parse_args()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BadInput as error:
        print(f"quantization: {error}", file=sys.stderr)
        sys.exit(2)
