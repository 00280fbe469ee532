"""A checkpoint's scheduler -> one that hands x0 on, as the denoiser's graph returns it, for the clients of a format."""

from collections.abc import Callable, Mapping
from typing import Any

from edgestep.export.clients.configs import DIFFUSERS_VERSION

SCHEDULE = ("beta_start", "beta_end", "beta_schedule", "num_train_timesteps")
"""What every scheduler says of its noise, if it says anything."""


def scheduler_config(format: str, own: Mapping[str, Any]) -> dict[str, Any]:
    """Return scheduler_config.json; `own` is the checkpoint's."""
    return {
        "_diffusers_version": DIFFUSERS_VERSION,
        **{key: own[key] for key in SCHEDULE if key in own},
        "clip_sample": False,
        "prediction_type": "sample",
        "set_alpha_to_one": True,
        "steps_offset": 1,
        "thresholding": False,
        "trained_betas": None,
        **SCHEDULERS[format](),
    }


def _lcm() -> dict[str, Any]:
    """An LCMScheduler's only step keeps 2.5e-9 of the noise."""
    return {
        "_class_name": "LCMScheduler",
        "original_inference_steps": 50,
        "timestep_scaling": 10.0,
        "timestep_spacing": "leading",
    }


def _ddim() -> dict[str, Any]:
    """openvino_genai's LCMScheduler crashes at prediction type "sample"; its DDIM does not."""
    return {"_class_name": "DDIMScheduler", "timestep_spacing": "trailing"}


SCHEDULERS: dict[str, Callable[[], dict[str, Any]]] = {"onnx": _lcm, "openvino": _ddim, "coreml": _lcm}
"""Format -> the scheduler that its clients read."""
