"""How often good artifacts fail their gates: ONNX fp32, fp16, w8a8 split and fused, OpenVINO fp32, fp16, w8a8.

    python benchmarks/false_alarms.py                   200 replays of the bundled generator in all
    python benchmarks/false_alarms.py --replays 45 --artifacts build/artifacts --reference build/reference

Artifacts and reference are made by the commands that users call, and kept where a folder is named. Replays take turns
among artifacts and numbers of threads; each draws in a fresh process, as `edgestep parity` does. The exit status is 1
where any failed.
"""

import argparse
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from itertools import islice, product
from pathlib import Path

from edgestep.harness.parity.check import draw_and_check
from edgestep.harness.reference.bundle import Reference, read_reference
from edgestep.harness.results import PASSED, ParityResult

FORMS = (("onnx", "split"), ("onnx", "fused"), ("openvino", "split"))
THREADS = (1, 2, None)


@dataclass(frozen=True)
class Replay:
    """One artifact on one number of threads (None: the runtime's choice), and what came of it."""

    name: str
    threads: int | None
    result: ParityResult


def main() -> int:
    """Make what is missing, replay, print one line per alarm and the tally."""
    given = _arguments()
    with tempfile.TemporaryDirectory(prefix="edgestep-false-alarms-") as scratch:
        folders = make_artifacts(given.checkpoint, given.artifacts or Path(scratch) / "artifacts")
        reference = make_reference(given.checkpoint, given.reference or Path(scratch) / "reference", given.cases)
        replays = replay(folders, reference, given.replays)
    for one in replays:
        if one.result.verdict != PASSED:
            print(f"ALARM {one.name}, {one.threads or 'default'} threads: {one.result.verdict}, {one.result.reason}")
    print(summary_of(replays))
    return int(any(one.result.verdict != PASSED for one in replays))


def make_artifacts(checkpoint: str, out: Path) -> list[Path]:
    """Export fp32 and fp16 and quantize to w8a8, in each form; folders that are there are kept."""
    for format, layout in FORMS:
        for precision in ("fp32", "fp16"):
            options = ("--format", format, "--precision", precision, "--layout", layout)
            _run_once(out / f"{format}-{layout}-{precision}", "export", checkpoint, *options)
        source = out / f"{format}-{layout}-fp32"
        _run_once(out / f"{format}-{layout}-w8a8", "quantize", str(source), "--scheme", "w8a8")
    return sorted(out.iterdir())


def make_reference(checkpoint: str, out: Path, cases: int) -> Reference:
    """Record the bundle on the CPU where there is none."""
    _run_once(out, "reference", checkpoint, "--device", "cpu", "--cases", str(cases))
    return read_reference(out)


def replay(folders: list[Path], reference: Reference, count: int) -> list[Replay]:
    """Check `count` times, each artifact in turn on the first number of threads, then on the next."""
    rounds = (pair for _ in range(count) for pair in product(THREADS, folders))
    replays = []
    for threads, folder in islice(rounds, count):
        replays.append(Replay(folder.name, threads, draw_and_check(folder, reference, threads=threads).result))
        print(f"\r{len(replays)} of {count}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return replays


def summary_of(replays: list[Replay]) -> str:
    """Return a line per artifact with its worst picture, and the tally."""
    tally = Counter(one.name for one in replays)
    lines = []
    for name, count in sorted(tally.items()):
        results = [one.result for one in replays if one.name == name]
        worst = min((g.worst for r in results for g in r.gates if g.measure == "image_psnr_db"), default=float("nan"))
        failed = sum(result.verdict != PASSED for result in results)
        lines.append(f"{name:22} {count:4} replays, {failed} failed, image PSNR {worst:.1f} dB at worst")
    alarms = sum(one.result.verdict != PASSED for one in replays)
    return "\n".join([*lines, f"{alarms} false alarms in {len(replays)} replays"])


def _run_once(out: Path, *command: str) -> None:
    if out.exists():
        return
    words = [sys.executable, "-m", "edgestep.cli", *command, "--out", str(out)]
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("checkpoint", nargs="?", default="emoji")
    parser.add_argument("--replays", type=int, default=200)
    parser.add_argument("--cases", type=int, default=8, help="of the reference")
    parser.add_argument("--artifacts", type=Path, help="made here, or found here")
    parser.add_argument("--reference", type=Path, help="recorded here, or found here")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
