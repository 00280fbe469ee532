"""Shipped artifacts against PyTorch eager and the teacher's many-step sampler, interleaved in one run.

    python benchmarks/one_step.py build/demo --checkpoint emoji

FOLDER is what `edgestep ship` left, or one artifact. Each artifact takes turns with each baseline, so that what
disturbs one disturbs the other; the ratio of medians and its 95 % interval is the figure to trust on a busy machine.
"""

import argparse
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from edgestep.artifact import MANIFEST, BadInput
from edgestep.export.source.checkpoint import checkpoint_folder
from edgestep.harness.figures import interval_text, ratio_text, time_text
from edgestep.harness.latency.measure import Comparison, artifact_job, compare_interleaved, eager_job, teacher_job
from edgestep.harness.worker_process import Job

RUNS = 5
"""Runs of the artifact in each turn: its caches recover from the baseline's turn."""


def main() -> int:
    """Measure every artifact against every baseline, then print one row per artifact."""
    given = _arguments()
    console, told = Console(), Console(stderr=True)
    try:
        checkpoint = checkpoint_folder(given.checkpoint)
        folders = artifact_folders(given.folder)
    except BadInput as error:
        told.print(Text(str(error)))
        return 2
    baselines = [eager_job(checkpoint, threads=given.threads)]
    baselines += [teacher_job(checkpoint, threads=given.threads, steps=given.steps)] if given.steps else []
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("artifact", no_wrap=True)
    table.add_column("p50", justify="right", no_wrap=True)
    for baseline in baselines:
        table.add_column(f"against {baseline.name}", justify="right")
    for folder in folders:
        try:
            job = artifact_job(folder, threads=given.threads)
        except BadInput as error:
            told.print(Text(f"left out: {error}"))
            continue
        compared = [_compare(job, baseline, given.rounds, told) for baseline in baselines]
        table.add_row(job.name, time_text(compared[0].of.p50_s), *(ratio_cell(one) for one in compared))
    console.print(table)
    return 0


def artifact_folders(folder: Path) -> list[Path]:
    """Return the artifacts in a shipped folder, or the folder itself where it is one."""
    if (folder / MANIFEST).is_file():
        return [folder]
    found = sorted(path.parent for path in (folder / "artifacts").glob(f"*/{MANIFEST}"))
    if not found:
        raise BadInput(f"got {folder} without an artifact; expected what 'edgestep ship' leaves; ship first")
    return found


def ratio_cell(comparison: Comparison) -> str:
    """Return `184x (178-190x)` in typographic signs, or why there is none."""
    ratio = comparison.ratio
    if ratio.failure:
        return ratio.failure
    interval = interval_text(ratio.interval)
    return ratio_text(ratio.ratio) + (f" ({interval})" if interval else "")


def _compare(job: Job, baseline: Job, rounds: int, told: Console) -> Comparison:
    return compare_interleaved(
        job, baseline, rounds=rounds, runs=(RUNS, 1), tell=lambda line: told.print(Text(line, style="dim"))
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="what `edgestep ship` left, or one artifact")
    parser.add_argument("--checkpoint", default="emoji", help="what it was shipped from")
    parser.add_argument("--threads", type=int, default=2, help="the same for both sides")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each side")
    parser.add_argument("--steps", type=int, default=50, help="the teacher's steps; 0 leaves the teacher out")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
