"""`edgestep ship`: everything from a checkpoint to report.html, in an order that fails early and resumes anywhere."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from edgestep import __version__
from edgestep.artifact import Artifact, sha256_of_json, tool_versions
from edgestep.card_gates import record_gates
from edgestep.export.coreml.options import CoreMLOptions
from edgestep.export.graph.graphs import Graphs
from edgestep.export.recipe.contract import contract_from_checkpoint
from edgestep.export.run import export, export_key
from edgestep.export.source.checkpoint import Checkpoint, open_source
from edgestep.export.source.source import Source
from edgestep.harness.machine import machine_here
from edgestep.harness.parity.check import draw_and_check
from edgestep.harness.parity.golden import keep_golden
from edgestep.harness.reference.bundle import Reference, read_reference
from edgestep.harness.reference.prompts import prompts_for
from edgestep.harness.reference.record import record_reference
from edgestep.harness.reporting.report import write_report
from edgestep.harness.results import (
    ArtifactResult,
    CasePicture,
    CheckpointSummary,
    Control,
    LatencyResult,
    ParityResult,
    Results,
    write_results,
)
from edgestep.progress import Tell
from edgestep.quantize.calibration import calibration_sha256
from edgestep.quantize.quantizers import QUANTIZERS, Options
from edgestep.quantize.run import quantize, quantize_key
from edgestep.quantize.schemes import samples_for, scheme_for
from edgestep.runtimes.picture import write_picture
from edgestep.runtimes.registry import runtime_for
from edgestep.ship.calibration import Calibration, Lazy, calibration_from_prompts
from edgestep.ship.coreml_evaluation import evaluate
from edgestep.ship.gates import gates_from_parity
from edgestep.ship.plan import Job, jobs_from_targets
from edgestep.ship.speed import Timing, measure_speed
from edgestep.ship.stages import Stages
from edgestep.targets import target_named

TOOLS = ("torch", "diffusers", "transformers", "onnx", "onnxscript", "onnxruntime", "openvino", "nncf", "coremltools")


CARRY_GOLDEN = ("coreml",)
"""Formats whose artifacts are checked elsewhere than where they run, and so take cases along to replay there."""


@dataclass(frozen=True)
class ShipRequest:
    """What the user asked for. `prompts` None takes the checkpoint's own list; `device` draws the reference."""

    source: Source
    name: str
    targets: tuple[str, ...]
    out: Path
    cases: int = 8
    prompts: tuple[str, ...] | None = None
    device: str = "cpu"
    threads: int = 2


def ship(request: ShipRequest, tell: Tell) -> Results:
    """Make, check, time and report every artifact of the targets; return what report.json holds."""
    targets = [target_named(name) for name in dict.fromkeys(request.targets)]
    checkpoint = open_source(request.source)
    contract = contract_from_checkpoint(checkpoint)
    stages = Stages(request.out, tell)
    prompts = request.prompts or prompts_for(request.source.folder)
    reference = _reference(request, checkpoint, stages, prompts, tell)
    calibration = partial(calibration_from_prompts, prompts, strict=request.prompts is not None)
    jobs = jobs_from_targets(request.name, targets)
    made = _artifacts(request, jobs, checkpoint, calibration, stages, tell)
    shown = [job for job in jobs if job.shown]
    checked = {job.name: _parity(request, job, made[job.name], reference, stages, tell) for job in shown}
    controls = {
        job.name: Control(
            job.name, job.scheme, made[job.name].bytes, _parity(request, job, made[job.name], reference, stages, tell)
        )
        for job in jobs
        if job.name in {one.control for one in shown}
    }
    for job in shown:  # after all are made: what is quantized takes its parent's card
        text = gates_from_parity(checked[job.name], reference.index.label)
        made[job.name] = record_gates(job.folder(request.out), text)
        if job.target.format in CARRY_GOLDEN:
            made[job.name] = keep_golden(job.folder(request.out), reference)
    timing = Timing(request.out, request.source, contract, checkpoint.sha256, request.threads)
    speed = measure_speed(timing, shown, made, checked, stages, tell)
    names = [case.name for case in reference.cases]
    results = Results(
        machine=machine_here(),
        tools=tool_versions(*TOOLS),
        contract=contract,
        checkpoint=_summary(request.name, checkpoint),
        artifacts=tuple(
            replace(
                _artifact_result(
                    request.out, job, made[job.name], checked[job.name], speed.latency.get(job.name), names
                ),
                control=controls.get(job.control),
            )
            for job in shown
        ),
        baselines=speed.baselines,
        ratios=speed.ratios,
        cases=_case_pictures(request.out, reference),
        reference_machine=reference.index.machine,
        reference_floor=reference.index.floor,
    )
    write_results(results, request.out / "report.json")
    write_report(results, request.out / "report.html")
    return results


def _reference(
    request: ShipRequest, checkpoint: Checkpoint, stages: Stages, prompts: Sequence[str], tell: Tell
) -> Reference:
    """Record the bundle, or read the one that was recorded from the same checkpoint, prompts, cases and device."""
    folder = request.out / "reference"
    wanted = [checkpoint.sha256, request.cases, list(prompts), request.device, __version__]
    key = sha256_of_json(wanted)

    def record() -> str:
        shutil.rmtree(folder, ignore_errors=True)
        tell(f"reference: {request.cases} cases with PyTorch on {request.device}")
        record_reference(
            request.source,
            device=request.device,
            cases=request.cases,
            out=folder,
            prompts=prompts,
            tell=tell,
        )
        return key

    if not folder.is_dir():
        stages.forget("reference")
    stages.kept("reference", key, str, record)
    return read_reference(folder)


def _artifacts(
    request: ShipRequest,
    jobs: Sequence[Job],
    checkpoint: Checkpoint,
    calibration_of: Callable[[int], Calibration],
    stages: Stages,
    tell: Tell,
) -> dict[str, Artifact]:
    """Make every job's artifact, or keep the one with the same key. `calibration_of` takes how many samples."""
    made: dict[str, Artifact] = {}
    graphs = Graphs(checkpoint, contract_from_checkpoint(checkpoint), tell)
    folders = {job.name: job.folder(request.out) for job in jobs}
    for number, job in enumerate(jobs, 1):
        what = f"{job.name} ({number} of {len(jobs)})"
        if job.parent:
            form, parent = job.target.format, made[job.parent]
            calibration = calibration_of(samples_for(job.scheme, form))
            calibrated = scheme_for(job.scheme, form, parent.scheme).calibrated
            feeds = Lazy(calibration, folders[job.parent]) if calibrated else None
            sha256 = _calibration_hash(job, parent.key, calibration, feeds, stages)
            taken = QUANTIZERS[form, job.scheme].taken(Options())
            key = quantize_key(parent.key, job.scheme, sha256, taken=taken)
            make = _quantizer(job, folders, feeds, tell)
        else:
            options = _coreml_options(job)
            key = export_key(checkpoint, job.target.format, job.scheme, job.layout, coreml=options)
            make = _exporter(job, folders[job.name], checkpoint, graphs, tell)

        def told(what: str = what, make=make) -> Artifact:
            tell(what)
            return make()

        made[job.name] = stages.kept_artifact(folders[job.name], key, told)
    return made


def _exporter(job: Job, folder: Path, checkpoint: Checkpoint, graphs: Graphs, tell: Tell):
    return lambda: export(
        checkpoint,
        format=job.target.format,
        precision=job.scheme,
        layout=job.layout,
        target=job.target.name,
        out=folder,
        graphs=graphs,
        coreml=_coreml_options(job),
        tell=tell,
    )


def _coreml_options(job: Job) -> CoreMLOptions | None:
    options = job.target.options
    if not options:
        return None
    return CoreMLOptions(compute_unit=options["compute_unit"], deployment_target=options["deployment_target"])


def _calibration_hash(job: Job, parent_key: str, calibration: Calibration, feeds: Lazy | None, stages: Stages) -> str:
    """Return the hash of what calibrates a job, "" where nothing does."""
    if feeds is None:
        return ""
    drawn = sha256_of_json([parent_key, calibration.sha256])
    return stages.kept(f"{job.name}.calibration", drawn, str, lambda: calibration_sha256(feeds()))


def _quantizer(job: Job, folders: dict[str, Path], feeds: Lazy | None, tell: Tell):
    return lambda: quantize(
        folders[job.parent],
        scheme=job.scheme,
        out=folders[job.name],
        feeds=feeds() if feeds else None,
        options=Options(evaluate),
        tell=tell,
    )


def _parity(
    request: ShipRequest, job: Job, artifact: Artifact, reference: Reference, stages: Stages, tell: Tell
) -> ParityResult:
    """Gate one artifact, and leave its pictures in pictures/<name>/."""
    key = sha256_of_json([artifact.key, reference.index.tensors_sha256, runtime_for(artifact), __version__])

    def check() -> ParityResult:
        tell(f"{job.name}: parity on {len(reference.cases)} cases")
        checked = draw_and_check(job.folder(request.out), reference, tell=tell)
        for case, picture in zip(reference.cases, checked.pictures, strict=bool(checked.pictures)):
            write_picture(picture, request.out / "pictures" / job.name / f"{case.name}.png")
        return checked.result

    return stages.kept(f"{job.name}.parity", key, ParityResult, check)


def _artifact_result(
    out: Path, job: Job, artifact: Artifact, parity: ParityResult, latency: LatencyResult | None, cases: Sequence[str]
) -> ArtifactResult:
    pictures = [f"pictures/{job.name}/{case}.png" for case in cases]
    return ArtifactResult(
        name=job.name,
        target=job.target.name,
        scheme=job.scheme,
        layout=job.layout,
        format=artifact.format,
        bytes=artifact.bytes,
        parity=parity,
        latency=latency,
        folder=job.folder(out).relative_to(out).as_posix(),
        pictures=tuple(p for p in pictures if (out / p).is_file()),
    )


def _case_pictures(out: Path, reference: Reference) -> tuple[CasePicture, ...]:
    """Write the reference's pictures; return the cases as the report lists them."""
    shown = []
    for case in reference.cases:
        path = f"pictures/reference/{case.name}.png"
        write_picture(case.picture[0], out / path)
        shown.append(CasePicture(case.name, case.prompt, path))
    return tuple(shown)


def _summary(name: str, checkpoint: Checkpoint) -> CheckpointSummary:
    size = sum(path.stat().st_size for paths in checkpoint.weights.values() for path in paths)
    return CheckpointSummary(name, checkpoint.sha256, checkpoint.licence, size)
