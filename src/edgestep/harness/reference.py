"""A source, or a plain folder -> a reference bundle: what PyTorch draws in fp32, and how far PyTorch is from itself.

Cases pair prompts with noises so that both sensitivities have pairs: case i takes prompt i // k and noise i % k, with
k = 2 noises (more only where there are not enough prompts). 8 cases are 4 prompts x 2 noises: 12 pairs of one noise
and two prompts, 4 pairs of one prompt and two noises. From 3 cases on there is a pair of each kind.

Noise j is numpy's PCG64 seeded with (NOISE_SEED, j), standard_normal in float32, and what a loop adds after its step i
is seeded with (NOISE_SEED, j, i); they are stored, never drawn again.
"""

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from edgestep.artifact import BadInput, check_writable, tool_versions, written_aside
from edgestep.export.source.source import Source
from edgestep.harness.bundle import Reference, ReferenceCase, read_reference, write_bundle
from edgestep.harness.gates import IMAGE_PSNR, X0_SQNR
from edgestep.harness.machine import machine_here
from edgestep.harness.measures import psnr_db, sqnr_db, unit_from_picture
from edgestep.harness.prompts import prompts_for
from edgestep.harness.torch_one_step import TorchOneStep, check_device, exact_float32, import_torch

__all__ = [
    "Reference",
    "ReferenceCase",
    "case_plan",
    "more_noise_numbered",
    "noise_numbered",
    "read_reference",
    "record_reference",
]

NOISE_SEED = 20240
NOISES = 2
FLOOR_CASES = 2
SLOW_CASE_S = 5.0
"""Where one fp32 case takes longer than this, the floor has fp32 alone: fp16 on a CPU is ten times slower."""


def case_plan(cases: int, prompts: int) -> tuple[tuple[int, int], ...]:
    """Return (prompt index, noise index) per case, as the module's docstring says."""
    if cases < 1 or prompts < 1:
        raise BadInput(f"got {cases} cases of {prompts} prompts; expected 1 or more of each; 8 cases are a good start")
    noises = max(NOISES, -(-cases // prompts))
    return tuple((case // noises, case % noises) for case in range(cases))


def noise_numbered(index: int, latent_shape: tuple[int, int, int]) -> np.ndarray:
    """Return float32 [1, C, h, w], standard normal, the same on every machine of one numpy stream."""
    generator = np.random.Generator(np.random.PCG64([NOISE_SEED, index]))
    return generator.standard_normal((1, *latent_shape), dtype=np.float32)


def more_noise_numbered(index: int, steps: int, latent_shape: tuple[int, int, int]) -> np.ndarray | None:
    """Return float32 [steps - 1, 1, C, h, w], what a loop adds after each step but the last; None for one step."""
    if steps == 1:
        return None
    streams = (np.random.Generator(np.random.PCG64([NOISE_SEED, index, step])) for step in range(1, steps))
    return np.stack([stream.standard_normal((1, *latent_shape), dtype=np.float32) for stream in streams])


def record_reference(
    source: Source | Path,
    *,
    device: str,
    cases: int,
    out: Path,
    prompts: Sequence[str] | None = None,
    allow_pickle: bool = False,
    tell: Callable[[str], None] = lambda _: None,
) -> Reference:
    """Draw `cases` cases in fp32 with TF32 off, measure the floor, write the bundle to `out`, and return it as read.

    `device` is cpu or cuda. `prompts` None takes the checkpoint's prompts.txt, else the list of prompts.py. Raises
    BadInput for a folder that is no checkpoint, a device that is not there, a prompt that does not fit, or an `out`
    that is not empty.
    """
    from edgestep.export.recipe.contract import contract_from_checkpoint
    from edgestep.export.source.checkpoint import open_source

    check_writable(out)
    source = source if isinstance(source, Source) else Source(source, allow_pickle=allow_pickle)
    checkpoint = open_source(source)
    torch = import_torch()
    check_device(torch, device)
    prompts = tuple(prompts) if prompts is not None else prompts_for(source.folder)
    plan = case_plan(cases, len(prompts))
    with exact_float32(torch):
        tell(f"reference: loading PyTorch on {device}")
        model = TorchOneStep(source, contract=contract_from_checkpoint(checkpoint), device=device)
        drawn, case_s = _draw_cases(model, plan, prompts, tell)
        tell("reference: measuring the floor, fp32 against itself and other precisions")
        floor, notes = _measure_floor(model, drawn[:FLOOR_CASES], case_s)
    with written_aside(out) as folder:
        write_bundle(folder, _index(model, checkpoint.sha256, floor, notes), drawn)
    return read_reference(out)


def _draw_cases(
    model: TorchOneStep, plan: tuple[tuple[int, int], ...], prompts: Sequence[str], tell: Callable[[str], None]
) -> tuple[tuple[ReferenceCase, ...], float]:
    """Return the cases, and the seconds of the last one."""
    planned = [(prompts[p], _inputs(model, prompts[p], n)) for p, n in plan]
    drawn, seconds = [], 0.0
    for i, (prompt, inputs) in enumerate(planned):
        tell(f"reference: case {i + 1} of {len(plan)}, {prompt!r}")
        start = time.perf_counter()
        one = model.draw(**inputs)
        seconds = time.perf_counter() - start
        out = {name: getattr(one, name) for name in ("prompt_embeds", "pooled", "x0", "image", "picture")}
        case = ReferenceCase(f"case-{i:02d}", prompt, **inputs, **out)
        if not (np.isfinite(case.x0).all() and np.isfinite(case.image).all()):
            raise BadInput(
                f"got NaN from PyTorch for {prompt!r}; expected a picture; the checkpoint's weights are broken"
            )
        drawn.append(case)
    return tuple(drawn), seconds


def _inputs(model: TorchOneStep, prompt: str, noise: int) -> dict[str, np.ndarray]:
    """Return what the case is drawn from, by the names of ReferenceCase."""
    more_noise = more_noise_numbered(noise, model.steps, model.latent_shape)
    loop = {} if more_noise is None else {"more_noise": more_noise}
    return {**model.inputs(prompt), "noise": noise_numbered(noise, model.latent_shape), **loop}


def _measure_floor(
    model: TorchOneStep, cases: Sequence[ReferenceCase], case_s: float
) -> tuple[dict[str, float], tuple[str, ...]]:
    """Return how far PyTorch is from itself: fp32 drawn again, on one thread, in TF32, fp16 and bf16."""
    torch, notes = model.torch, [f"floor: the worst of the first {len(cases)} cases"]
    floor = _compared("fp32_again", model, cases)
    if model.device == "cpu":
        threads = torch.get_num_threads()
        torch.set_num_threads(1 if threads > 1 else 2)
        floor |= _compared("fp32_other_threads", model, cases)
        torch.set_num_threads(threads)
    else:
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
        floor |= _compared("tf32", model, cases)
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    if case_s > SLOW_CASE_S:
        notes.append(f"fp16 and bf16 not measured: one fp32 case took {case_s:.0f} s")
        return floor, tuple(notes)
    if model.device == "cuda":
        floor |= _compared("cpu_fp32", model.again(device="cpu"), cases)
    for precision in ("fp16", "bf16"):
        try:
            floor |= _compared(precision, model.again(precision=precision), cases)
        except (RuntimeError, NotImplementedError) as error:  # an operator that this device lacks in this type
            notes.append(f"{precision} not measured: {str(error).splitlines()[0]}")
    return floor, tuple(notes)


def _compared(name: str, model: TorchOneStep, cases: Sequence[ReferenceCase]) -> dict[str, float]:
    x0, image = [], []
    for case in cases:
        drawing = model.draw(**case.inputs)
        x0.append(sqnr_db(case.x0, drawing.x0))
        image.append(psnr_db(unit_from_picture(case.picture), unit_from_picture(drawing.picture)))
    return {f"{name} {X0_SQNR}": round(float(np.min(x0)), 2), f"{name} {IMAGE_PSNR}": round(float(np.min(image)), 2)}


def _index(model: TorchOneStep, sha256: str, floor: dict[str, float], notes: tuple[str, ...]) -> dict[str, Any]:
    cuda = model.device == "cuda"
    accelerator = model.torch.cuda.get_device_name() if cuda else ""
    there = "" if model.torch.cuda.is_available() else ", no GPU here"
    return {
        "label": f"PyTorch fp32, TF32 off, on {accelerator}" if cuda else f"PyTorch fp32 on the CPU{there}",
        "device": model.device,
        "precision": "fp32",
        "checkpoint_sha256": sha256,
        "base": model.contract.base,
        "family": model.contract.family,
        "steps": model.steps,
        "formula_by": model.formula_by,
        "timestep": model.timestep,
        "prompt_tokens": model.prompt_tokens,
        "latent_shape": model.latent_shape,
        "image_size": model.image_size,
        "machine": machine_here(accelerator),
        "tools": tool_versions("torch", "diffusers", "transformers", "numpy"),
        "floor": floor,
        "notes": notes,
        "recorded": datetime.now(UTC).isoformat(timespec="seconds"),
    }
