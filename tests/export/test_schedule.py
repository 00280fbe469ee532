"""The closed form against diffusers' own schedulers, one step each."""

import diffusers
import numpy as np
import pytest
import torch

from edgestep.artifact import BadInput
from edgestep.export.recipe.schedule import step_from_scheduler

SD = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
TRAILING = {**SD, "clip_sample": False, "timestep_spacing": "trailing"}
EULER = {**SD, "timestep_spacing": "trailing"}
CASES = [
    ("LCMScheduler", SD),
    ("LCMScheduler", {**SD, "original_inference_steps": 30}),
    ("LCMScheduler", {**SD, "beta_schedule": "linear"}),
    ("TCDScheduler", SD),
    ("DDIMScheduler", TRAILING),
    ("DDIMScheduler", {**TRAILING, "set_alpha_to_one": False}),
    ("DDIMScheduler", {**TRAILING, "beta_schedule": "squaredcos_cap_v2"}),
    ("DDPMScheduler", TRAILING),
    ("EulerDiscreteScheduler", EULER),
    ("EulerDiscreteScheduler", {**EULER, "use_karras_sigmas": True}),
    ("EulerAncestralDiscreteScheduler", EULER),
]


@pytest.mark.parametrize(
    ("name", "options", "prediction_type"),
    [
        (name, options, prediction_type)
        for name, options in CASES
        for prediction_type in ("epsilon", "v_prediction", "sample")
        if (name, prediction_type) != ("EulerAncestralDiscreteScheduler", "sample")  # diffusers has not implemented it
    ],
)
def test_one_step_is_that_of_diffusers(name: str, options: dict, prediction_type: str):
    config = {**options, "prediction_type": prediction_type}
    scheduler = getattr(diffusers, name).from_config(config)
    scheduler.set_timesteps(1)
    generator = torch.Generator().manual_seed(0)
    z, f = torch.randn(2, 1, 4, 8, 8, generator=generator, dtype=torch.float64)
    t = scheduler.timesteps[0]
    sample = z * scheduler.init_noise_sigma
    x_in = scheduler.scale_model_input(sample, t)
    x0 = scheduler.step(f, t, sample, generator=generator).prev_sample

    step = step_from_scheduler(name, config)

    assert step.timestep == float(t)
    np.testing.assert_allclose(step.k_in * z, x_in, rtol=1e-5, atol=1e-6)
    error = (step.k_z * z - step.k_e * f - x0).abs().max() / x0.abs().max()
    assert error < 1e-5


@pytest.mark.parametrize(
    ("name", "options", "overrides", "expected"),
    [
        ("LCMScheduler", {}, {}, (1, 14.6488, 14.6146)),  # DMD2 on SD1.5, LCM-LoRA
        ("LCMScheduler", {}, {"timestep": 399}, (1, 1.53197, 1.16058)),  # DMD2 on SDXL
        ("LCMScheduler", {}, {"timestep": 800}, (1, 5.2079, 5.1110)),  # Hyper-SDXL
        ("EulerDiscreteScheduler", EULER, {}, (0.997667, 14.6146, 14.6146)),  # sd-turbo
        ("EulerDiscreteScheduler", EULER, {"prediction_type": "sample"}, (0.997667, 0, -1)),  # SDXL-Lightning
        ("TCDScheduler", {}, {}, (1, 14.6426, 14.5793)),  # Hyper-SD15
        ("LCMScheduler", {}, {"alpha_bar": 0.0047}, (1, 14.5865, 14.5522)),  # SwiftBrush's hard-coded value
    ],
)
def test_published_constants(name: str, options: dict, overrides: dict, expected: tuple):
    step = step_from_scheduler(name, options, **overrides)
    assert (step.k_in, step.k_z, step.k_e) == pytest.approx(expected, rel=3e-5, abs=1e-6)


@pytest.mark.parametrize(
    ("name", "options", "overrides", "says"),
    [
        ("PNDMScheduler", SD, {}, "PNDMScheduler"),
        ("DDIMScheduler", SD, {}, "clip_sample"),  # diffusers clips where the config does not say
        ("DDPMScheduler", {**TRAILING, "variance_type": "fixed_large"}, {}, "variance_type"),
        ("LCMScheduler", {**SD, "rescale_betas_zero_snr": True}, {}, "smaller timestep"),
        ("LCMScheduler", SD, {"timestep": 1000}, "timestep 1000"),
        ("LCMScheduler", SD, {"prediction_type": "flow"}, "'flow'"),
        ("LCMScheduler", {**SD, "beta_schedule": "laplace"}, {}, "laplace"),
    ],
)
def test_refuses(name: str, options: dict, overrides: dict, says: str):
    with pytest.raises(BadInput, match=says):
        step_from_scheduler(name, options, **overrides)
