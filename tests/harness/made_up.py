"""Made-up results with drawn pictures: what a shipped folder's report.json and picture files look like."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from edgestep.artifact import OneStep
from edgestep.harness.machine import Machine
from edgestep.harness.results import (
    ArtifactResult,
    Baseline,
    CasePicture,
    CheckpointSummary,
    GateResult,
    LatencyResult,
    ParityResult,
    Ratio,
    Results,
)

MACHINE = Machine("Example CPU @ 2.50GHz", "x86_64", 2, ("avx2",), 16 * 2**30, "Linux 6.1", "3.11.2")
CONTRACT = OneStep(
    "dmd",
    999.0,
    "v_prediction",
    1.0,
    0.0682,
    0.99767,
    0.18215,
    0.0,
    (16, 8, 8),
    (64, 64),
    32,
    0,
    1,
    2,
    "ab" * 32,
)
PROMPTS = (
    "noto, grinning face",
    "fluent, red heart",
    "twemoji, green apple",
    "classic, cat face",
    "noto, sun",
    "blue circle",
)
TEACHER = "teacher, 50 steps with guidance"
EAGER = "PyTorch eager, one step"
GATES = {"fp32": (80, 60, 0.999, 0.01), "fp16": (50, 40, 0.99, 0.02), "w8a8": (None, 28, 0.93, 0.1)}
FIGURES = {"fp32": (113.4, 85.2, 0.99999), "fp16": (62.1, 54.7, 0.99962), "w8a8": (24.8, 31.4, 0.9571)}
SIZES = {"fp32": 42_310_000, "fp16": 21_260_000, "w8a8": 11_420_000}
SPEEDS = {"fp32": 0.0131, "fp16": 0.0168, "w8a8": 0.0094}


def made_latency(p50: float, *, split: bool = False, kind: str = "real", spread: float = 1.12) -> LatencyResult:
    parts = {"text_encoder": 0.11, "unet": 0.42, "vae_decoder": 0.43, "rest": 0.04} if split else {"generator": 0.97}
    return LatencyResult(
        kind,
        load_s=0.31,
        first_s=p50 * 2.4,
        p50_s=p50,
        p90_s=p50 * spread,
        p99_s=p50 * spread * 1.2,
        interval_s=(p50 * 0.98, p50 * 1.03),
        samples_s=(p50,) * 5,
        images_per_s=1 / p50 if p50 else 0.0,
        peak_anonymous_bytes=182_000_000,
        memory_source="VmHWM",
        components={name: share * p50 for name, share in parts.items()},
        threads=2,
        runtime="onnxruntime",
    )


def made_parity(scheme: str, *, layout: str = "split", psnr: float | None = None) -> ParityResult:
    sqnr_limit, psnr_limit, ssim_limit, margin = GATES[scheme]
    sqnr, usual, ssim = FIGURES[scheme]
    worst = usual if psnr is None else psnr
    around = f"{1 - margin} .. {1 + margin}"
    gates = [
        GateResult("image_psnr_db", worst, f">= {psnr_limit}", "case-02", worst >= psnr_limit),
        GateResult("image_ssim", ssim, f">= {ssim_limit}", "case-02", ssim >= ssim_limit),
        GateResult("shapes", 0.0, "0 cases", "", True),
        GateResult("finite", 0.0, "0 cases", "", True),
        GateResult("not_constant", 0.0, "0 cases", "", True),
        GateResult("prompt_sensitivity", 1.004, around, "case-00/case-03", True),
        GateResult("noise_sensitivity", 0.997, around, "case-01/case-04", True),
    ]
    if layout == "split":
        limit = f">= {sqnr_limit}" if sqnr_limit else "report"
        gates.insert(0, GateResult("x0_sqnr_db", sqnr, limit, "case-04", True))
    passed = all(gate.passed is not False for gate in gates)
    absent = () if layout == "split" else ("x0_sqnr_db", "x0_cosine", "embeddings_cosine")
    return ParityResult("passed" if passed else "failed", tuple(gates), "", "onnxruntime", 6, absent, MACHINE)


def made_artifact(target: str, scheme: str, layout: str, **changes) -> ArtifactResult:
    format_ = {"x86": "onnx", "intel": "openvino", "mac": "coreml"}.get(target, "onnx")
    p50 = SPEEDS[scheme] * (0.93 if layout == "fused" else 1) * (0.82 if target == "intel" else 1)
    artifact = ArtifactResult(
        f"emoji-{target}-{scheme}-{layout}",
        target,
        scheme,
        layout,
        format_,
        SIZES[scheme] + (180_000 if layout == "fused" else 0) + (400_000 if target == "intel" else 0),
        made_parity(scheme, layout=layout),
        made_latency(p50, split=layout == "split"),
    )
    return replace(artifact, **changes)


def made_results() -> Results:
    artifacts = [made_artifact("x86", s, layout) for s in ("fp32", "fp16", "w8a8") for layout in ("split", "fused")]
    artifacts += [made_artifact("intel", s, layout) for s in ("fp16", "w8a8") for layout in ("split", "fused")]
    artifacts[8] = replace(artifacts[8], parity=made_parity("w8a8", psnr=26.43))
    artifacts[1] = replace(artifacts[1], latency=made_latency(0.0124, spread=1.9))
    unchecked = ParityResult("unchecked", reason="nothing on this machine runs Core ML")
    artifacts.append(made_artifact("mac", "fp16", "split", parity=unchecked, latency=None))
    teacher, eager = made_latency(1.437), made_latency(0.0432, split=True)
    ratios = [
        Ratio(
            f"{a.name} against the teacher", a.name, TEACHER, r, (r * 0.96, r * 1.05), 12, of_s=1.437 / r, over_s=1.437
        )
        for a in artifacts
        if a.latency and (r := 1.437 / a.latency.p50_s)
    ]
    return Results(
        MACHINE,
        {"edgestep": "0.1.0", "torch": "2.13.0", "onnxruntime": "1.31.1", "openvino": "2026.4.1"},
        CONTRACT,
        CheckpointSummary("emoji", "cd" * 32, "Apache-2.0 AND MIT AND CC-BY-4.0", 22_900_000),
        tuple(artifacts),
        (Baseline(EAGER, eager), Baseline(TEACHER, teacher)),
        tuple(ratios),
        reference_machine=MACHINE,
        reference_floor={"x0_sqnr_db": 118.2, "image_psnr_db": 88.0},
    )


def with_pictures(results: Results, folder: Path, prompts: tuple[str, ...] = PROMPTS, size: int = 64) -> Results:
    """Draw a picture per prompt and a noisier one per artifact into `folder`; return results that name them."""
    (folder / "pictures").mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    references = [_drawn(index, size) for index in range(len(prompts))]
    cases = []
    for index, (prompt, picture) in enumerate(zip(prompts, references, strict=True)):
        path = f"pictures/reference-{index}.png"
        Image.fromarray(picture).save(folder / path)
        cases.append(CasePicture(f"case-{index:02}", prompt, path))
    artifacts = []
    for artifact in results.artifacts:
        if artifact.parity is None or artifact.parity.verdict == "unchecked":
            artifacts.append(artifact)
            continue
        strength = {"fp32": 0.05, "fp16": 0.5, "w8a8": 7.0}[artifact.scheme]
        paths = []
        for index, picture in enumerate(references):
            noisy = np.clip(np.rint(picture + random.normal(0, strength, picture.shape)), 0, 255).astype(np.uint8)
            paths.append(f"pictures/{artifact.name}-{index}.png")
            Image.fromarray(noisy).save(folder / paths[-1])
        artifacts.append(replace(artifact, pictures=tuple(paths)))
    return replace(results, artifacts=tuple(artifacts), cases=tuple(cases))


def _drawn(index: int, size: int) -> np.ndarray:
    """Return uint8 [size, size, 3]: a face, heart, apple, cat, sun or disc on white."""
    image = Image.new("RGB", (256, 256), "white")
    draw = ImageDraw.Draw(image)
    colour = ("#fcc21b", "#e0245e", "#7cb342", "#ffca28", "#ff9800", "#2196f3")[index % 6]
    kind = index % 6
    if kind == 1:
        draw.ellipse((24, 40, 136, 150), fill=colour)
        draw.ellipse((120, 40, 232, 150), fill=colour)
        draw.polygon([(33, 120), (223, 120), (128, 232)], fill=colour)
    else:
        draw.ellipse((28, 28, 228, 228), fill=colour)
    if kind == 3:
        draw.polygon([(40, 90), (50, 8), (120, 50)], fill=colour)
        draw.polygon([(216, 90), (206, 8), (136, 50)], fill=colour)
    if kind in (0, 3):
        draw.ellipse((80, 90, 104, 124), fill="#5d4037")
        draw.ellipse((152, 90, 176, 124), fill="#5d4037")
        draw.chord((80, 110, 176, 200), 0, 180, fill="#6d2c1a")
    if kind == 2:
        draw.line([(128, 40), (150, 6)], fill="#6d4c41", width=10)
        draw.ellipse((70, 60, 110, 120), fill="#9ccc65")
    return np.asarray(image.resize((size, size), Image.Resampling.LANCZOS))
