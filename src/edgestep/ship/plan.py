"""Targets -> the artifacts to make, each with what it is made from."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgestep.quantize.schemes import SCHEMES
from edgestep.targets import Target


@dataclass(frozen=True)
class Job:
    """One artifact to make. `parent` is the name of the job it is quantized from; `shown` whether it is reported."""

    name: str
    target: Target
    scheme: str
    layout: str
    parent: str = ""
    shown: bool = True

    def folder(self, out: Path) -> Path:
        """Return where it stands: artifacts/ for what was asked for, intermediate/ for what is only built upon."""
        return out / ("artifacts" if self.shown else "intermediate") / self.name


def jobs_from_targets(checkpoint_name: str, targets: Sequence[Target]) -> list[Job]:
    """Return every job, parents before what is made from them: `emoji-onnx-w8a8-fused` from `emoji-onnx-fp32-fused`."""
    jobs: dict[str, Job] = {}
    for target in targets:
        for layout in target.layouts:
            for scheme in target.schemes:
                job = _job(checkpoint_name, target, scheme, layout)
                if job.parent and job.parent not in jobs:
                    shown = "fp32" in target.schemes
                    jobs[job.parent] = Job(job.parent, target, "fp32", layout, shown=shown)
                jobs.setdefault(job.name, job)
    return list(jobs.values())


def _job(checkpoint_name: str, target: Target, scheme: str, layout: str) -> Job:
    # what `quantize` has a scheme for is made from an fp32 artifact, the rest is exported
    suffix = "" if layout == "split" else f"-{layout}"
    parent = f"{checkpoint_name}-{target.format}-fp32{suffix}" if scheme in SCHEMES else ""
    return Job(f"{checkpoint_name}-{target.format}-{scheme}{suffix}", target, scheme, layout, parent)
