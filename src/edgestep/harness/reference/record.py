"""A source, or a plain folder -> a reference bundle: what PyTorch draws in fp32, and how far PyTorch is from itself.

Cases pair prompts with noises so that both sensitivities have pairs: case i takes prompt i // k and noise i % k, with
k = 2 noises (more only where there are not enough prompts). 8 cases are 4 prompts x 2 noises: 12 pairs of one noise
and two prompts, 4 pairs of one prompt and two noises. From 3 cases on there is a pair of each kind.

Noise j is numpy's PCG64 seeded with (NOISE_SEED, j), standard_normal in float32, and what a loop adds after its step i
is seeded with (NOISE_SEED, j, i); they are stored, never drawn again.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from edgestep.artifact import BadInput, check_writable, tool_versions, written_aside
from edgestep.export.source.source import Source
from edgestep.harness.machine import machine_here
from edgestep.harness.reference.bundle import Reference, ReferenceCase, read_reference, write_bundle
from edgestep.harness.reference.fingerprint import Fingerprint, accelerator_name, fingerprint_from_torch
from edgestep.harness.reference.measured_floor import measure_floor
from edgestep.harness.reference.prompts import prompts_for
from edgestep.harness.reference.taps import write_taps
from edgestep.harness.reference.torch_one_step import TorchOneStep, check_device, exact_float32, import_torch
from edgestep.harness.reference.torch_taps import record_taps

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
    tap_cases: int = 0,
    tell: Callable[[str], None] = lambda _: None,
) -> Reference:
    """Draw `cases` cases in fp32 with TF32 off, measure the floor, write the bundle to `out`, and return it as read.

    With `tap_cases`, what the modules read and gave in the first of the cases is written beside it (see taps.py).

    `device` is cpu, cuda or mps. `prompts` None takes the checkpoint's prompts.txt, else the list of prompts.py. Raises
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
        fingerprint = fingerprint_from_torch(torch, device)
        drawn = _draw_cases(model, plan, prompts, tell)
        taps = record_taps(model, drawn[:tap_cases]) if tap_cases else None
        floor, notes = measure_floor(model, drawn, tell)
    with written_aside(out) as folder:
        write_bundle(folder, _index(model, checkpoint.sha256, fingerprint, floor, notes), drawn)
        if taps is not None:
            write_taps(folder, taps)
    return read_reference(out)


def _draw_cases(
    model: TorchOneStep, plan: tuple[tuple[int, int], ...], prompts: Sequence[str], tell: Callable[[str], None]
) -> tuple[ReferenceCase, ...]:
    planned = [(prompts[p], case_inputs(model, prompts[p], n)) for p, n in plan]
    drawn = []
    for i, (prompt, inputs) in enumerate(planned):
        tell(f"reference: case {i + 1} of {len(plan)}, {prompt!r}")
        drawn.append(draw_case(model, f"case-{i:02d}", prompt, inputs))
    return tuple(drawn)


def draw_case(model: TorchOneStep, name: str, prompt: str, inputs: dict[str, np.ndarray]) -> ReferenceCase:
    """Draw one case; raise BadInput where PyTorch itself draws NaN."""
    one = model.draw(**inputs)
    out = {name: getattr(one, name) for name in ("prompt_embeds", "pooled", "x0", "image", "picture")}
    case = ReferenceCase(name, prompt, **inputs, **out)
    if not (np.isfinite(case.x0).all() and np.isfinite(case.image).all()):
        raise BadInput(f"got NaN from PyTorch for {prompt!r}; expected a picture; the checkpoint's weights are broken")
    return case


def case_inputs(model: TorchOneStep, prompt: str, noise: int) -> dict[str, np.ndarray]:
    """Return what the case is drawn from, by the names of ReferenceCase."""
    more_noise = more_noise_numbered(noise, model.steps, model.latent_shape)
    loop = {} if more_noise is None else {"more_noise": more_noise}
    return {**model.inputs(prompt), "noise": noise_numbered(noise, model.latent_shape), **loop}


def label_for(model: TorchOneStep) -> str:
    """Return in words what draws: `PyTorch fp32, TF32 off, on NVIDIA L4`, `PyTorch fp32 on the CPU, no GPU here`."""
    if model.device == "cpu":
        return f"PyTorch fp32 on the CPU{'' if model.torch.cuda.is_available() else ', no GPU here'}"
    off = ", TF32 off," if model.device == "cuda" else ""
    return f"PyTorch fp32{off} on {accelerator_name(model.torch, model.device)}"


def _index(
    model: TorchOneStep, sha256: str, fingerprint: Fingerprint, floor: dict[str, float], notes: tuple[str, ...]
) -> dict[str, Any]:
    return {
        "label": label_for(model),
        "fingerprint": fingerprint,
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
        "machine": machine_here(fingerprint.name),
        "tools": tool_versions("torch", "diffusers", "transformers", "numpy"),
        "floor": floor,
        "notes": notes,
        "recorded": datetime.now(UTC).isoformat(timespec="seconds"),
    }
