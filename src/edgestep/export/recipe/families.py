"""Family -> how it is published to be drawn: scheduler, timesteps, what the network predicts.

A row is what the authors' model card or script sets. What it leaves out (the noise schedule, in most of them) is the
checkpoint's own.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

RECTIFIED_FLOW, TRIGFLOW, X0 = "RectifiedFlow", "SCMScheduler", "x0"
"""Values of `scheduler` that are no diffusers class with alpha_bars: see flow.py; X0 is the formula without any."""
CLEAN = {"clip_sample": False, "thresholding": False, "rescale_betas_zero_snr": False}
TRAILING = {**CLEAN, "timestep_spacing": "trailing"}
OWN: tuple[float, ...] = ()
"""Timesteps that the scheduler chooses."""


@dataclass(frozen=True)
class Family:
    """One row. `timesteps`: number of steps -> the timesteps, OWN where the scheduler chooses; no other number is
    offered. `scheduler` "" is the checkpoint's own; `config` goes over its config. `prediction_type` "" is the
    config's; `one_step_predicts` differs where the 1-step network was trained for something else. `alpha_bar`: of the
    single step, where the authors' is not the schedule's. `eta`: of TCD. `guidance_embedding`: the scale that a
    network with such an input is told. `source`: where this is from.
    """

    name: str
    bases: tuple[str, ...]
    scheduler: str
    timesteps: Mapping[int, tuple[float, ...]]
    source: str
    prediction_type: str = "epsilon"
    one_step_predicts: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)
    alpha_bar: float | None = None
    eta: float = 1.0
    guidance_embedding: float | None = None


FOUR = (999.0, 749.0, 499.0, 249.0)
_ANY = {1: OWN, 2: OWN, 4: OWN}

_ROWS = (
    Family(
        "dmd2-sd15",
        ("sd",),
        "LCMScheduler",
        {1: (999.0,)},
        "DMD2, 2405.14867, SD1.5 at t = 999",
        config=CLEAN,
    ),
    Family(
        "dmd2-sdxl",
        ("sdxl",),
        "LCMScheduler",
        {1: (399.0,), 4: FOUR},
        "DMD2, 2405.14867, section 4.2 and model card: one step from t = 399; four from 999, 749, 499, 249",
        config=CLEAN,
    ),
    Family(
        "sd-turbo",
        ("sd",),
        "EulerDiscreteScheduler",
        _ANY,
        "ADD, 2311.17042, and its scheduler_config.json: Euler, trailing",
        config=TRAILING,
    ),
    Family(
        "sdxl-turbo",
        ("sdxl",),
        "EulerAncestralDiscreteScheduler",
        _ANY,
        "ADD, 2311.17042, and its scheduler_config.json: Euler ancestral, trailing",
        config=TRAILING,
    ),
    Family(
        "sdxl-lightning",
        ("sdxl",),
        "EulerDiscreteScheduler",
        _ANY,
        "SDXL-Lightning, 2402.13929, and model card: Euler, trailing; the 1-step network predicts x0",
        one_step_predicts="sample",
        config=TRAILING,
    ),
    Family(
        "hyper-sdxl",
        ("sdxl",),
        "LCMScheduler",
        {1: (800.0,)},
        "Hyper-SD, 2404.13686, and model card of the 1-step UNet: LCM at t = 800",
        config=CLEAN,
    ),
    Family(
        "hyper-sd15",
        ("sd",),
        "TCDScheduler",
        _ANY,
        "Hyper-SD, 2404.13686, and model card of the unified 1-step LoRA: TCD with eta = 1",
        config=CLEAN,
    ),
    Family(
        "hyper-sdxl-lora",
        ("sdxl",),
        "TCDScheduler",
        _ANY,
        "Hyper-SD, 2404.13686, and model card of the unified 1-step LoRA: TCD with eta = 1",
        config=CLEAN,
    ),
    Family(
        "hyper-nsteps",
        ("sd", "sdxl"),
        "DDIMScheduler",
        {2: OWN, 4: OWN},
        "Hyper-SD, 2404.13686, and model card of the 2- and 4-step LoRAs: DDIM, trailing",
        config=TRAILING,
    ),
    Family(
        "lcm-lora",
        ("sd", "sdxl"),
        "LCMScheduler",
        _ANY,
        "LCM-LoRA, 2311.05556, and its model cards",
        config={**CLEAN, "original_inference_steps": 50},
    ),
    Family(
        "lcm",
        ("sd", "sdxl"),
        "LCMScheduler",
        _ANY,
        "LCM, 2310.04378; the scale is LatentConsistencyModelPipeline's default, w = scale - 1",
        config=CLEAN,
        guidance_embedding=8.5,
    ),
    Family(
        "swiftbrush",
        ("sd",),
        X0,
        {1: (999.0,)},
        "SwiftBrush, 2312.05239; its script has alpha_bar = 0.0047 for t = 999",
        alpha_bar=0.0047,
    ),
    Family(
        "sid-lsg",
        ("sd",),
        "EulerDiscreteScheduler",
        {1: (625.0,)},
        "SiD-LSG, 2406.01561: from t = 625, the input scaled",
        config=TRAILING,
    ),
    Family(
        "instaflow",
        ("sd",),
        RECTIFIED_FLOW,
        {1: (1000.0,)},
        "InstaFlow, 2309.06380: one Euler step of rectified flow from t = 1000",
        prediction_type="velocity",
    ),
    Family(
        "pixart-dmd",
        ("pixart",),
        "DDPMScheduler",
        {1: (400.0,)},
        "PixArt-alpha DMD, 2403.04692, supplement, and its demo: DDPM at t = 400",
        config={**CLEAN, "variance_type": "fixed_small"},
    ),
    Family(
        "sana-sprint",
        ("sana",),
        TRIGFLOW,
        _ANY,
        "SANA-Sprint, 2503.09641, and SanaSprintPipeline's defaults",
        prediction_type="trigflow",
        guidance_embedding=4.5,
    ),
)

FAMILIES: dict[str, Family] = {row.name: row for row in _ROWS}
"""Name -> row; `--family` takes one of them, or PLAIN."""
PLAIN = Family("plain", ("sd", "sdxl", "pixart"), "", _ANY, "the folder's own scheduler", prediction_type="", eta=0.3)
"""What is taken where no row fits: the folder's own scheduler and what it predicts."""
