"""Targets -> the artifacts to make, each with what it is made from."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgestep.quantize.schemes import SCHEMES
from edgestep.targets import Target

CONTROL = "naive_w8a8"
"""The scheme of what every quantized artifact is held against in the report."""


@dataclass(frozen=True)
class Job:
    """One artifact to make. `parent` is the name of the job it is quantized from; `shown` whether it is reported.

    `control` is the name of the job of its naive counterpart, "" where there is none.
    """

    name: str
    target: Target
    scheme: str
    layout: str
    parent: str = ""
    shown: bool = True
    control: str = ""

    def folder(self, out: Path) -> Path:
        """Return where it stands: artifacts/ for what was asked for, intermediate/ for what is only built upon."""
        return out / ("artifacts" if self.shown else "intermediate") / self.name


def jobs_from_targets(checkpoint_name: str, targets: Sequence[Target]) -> list[Job]:
    """Return every job, parents before what is made from them: `emoji-onnx-w8a8-fused` from `emoji-onnx-fp32-fused`.

    What is exported for one target only is named after it and not after its format: `emoji-iphone-fp16`.
    """
    jobs: dict[str, Job] = {}
    for target in targets:
        for layout in target.layouts:
            for scheme in target.schemes:
                job = _job(checkpoint_name, target, scheme, layout)
                if job.parent and job.parent not in jobs:
                    parent = parent_scheme(job.scheme, target)
                    jobs[job.parent] = Job(job.parent, target, parent, layout, shown=parent in target.schemes)
                jobs.setdefault(job.name, job)
                if job.control and job.control not in jobs:
                    jobs[job.control] = Job(job.control, target, CONTROL, layout, job.parent, shown=False)
    return list(jobs.values())


def _job(checkpoint_name: str, target: Target, scheme: str, layout: str) -> Job:
    # what `quantize` has a scheme for is made from a float artifact, the rest is exported
    suffix = "" if layout == "split" else f"-{layout}"
    head = f"{checkpoint_name}-{target.name if target.options else target.format}"
    parent = f"{head}-{parent_scheme(scheme, target)}{suffix}" if scheme in SCHEMES else ""
    control = f"{head}-{CONTROL}{suffix}" if parent and target.format in SCHEMES[CONTROL].formats else ""
    return Job(f"{head}-{scheme}{suffix}", target, scheme, layout, parent, control=control)


def parent_scheme(scheme: str, target: Target) -> str:
    """Return the scheme of what a quantized artifact is made from: the first that it may be."""
    return SCHEMES[scheme].formats[target.format][0]
