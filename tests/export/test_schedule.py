"""The closed form against diffusers' own schedulers, one step each and whole loops."""

import sys
from contextlib import nullcontext
from unittest.mock import patch

import diffusers
import numpy as np
import pytest
import torch

from edgestep.artifact import BadInput
from edgestep.export.recipe.flow import trigflow
from edgestep.export.recipe.schedule import Asked, loop_from_scheduler, step_from_scheduler

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


LOOPS = [
    ("LCMScheduler", SD, {}),
    ("LCMScheduler", SD, {"timesteps": (999.0, 749.0, 499.0, 249.0)}),
    ("LCMScheduler", {**SD, "original_inference_steps": 30}, {}),
    ("TCDScheduler", SD, {"eta": 1.0}),
    ("TCDScheduler", SD, {"eta": 0.3}),
    ("TCDScheduler", SD, {"eta": 0.0}),
    ("DDIMScheduler", TRAILING, {}),
    ("DDIMScheduler", {**TRAILING, "set_alpha_to_one": False}, {}),
    ("EulerDiscreteScheduler", EULER, {}),
    ("EulerAncestralDiscreteScheduler", EULER, {}),
]


def _drawn_by_diffusers(scheduler, networks: torch.Tensor, z: torch.Tensor, noises: torch.Tensor, **how) -> tuple:
    """The pipelines' loop; `networks` are what F returns at every step. Returns what F was fed, and the end."""
    sample, fed = z * scheduler.init_noise_sigma, []
    module = f"{type(scheduler).__module__}.randn_tensor"
    for i, t in enumerate(scheduler.timesteps):
        fed.append(scheduler.scale_model_input(sample, t))
        with patch(module, lambda *_, i=i, **__: noises[i]) if _has_noise(scheduler) else nullcontext():
            sample = scheduler.step(networks[i], t, sample, **how).prev_sample
    return fed, sample


def _has_noise(scheduler) -> bool:
    return hasattr(sys.modules[type(scheduler).__module__], "randn_tensor")


def _drawn_by_loop(loop, networks: torch.Tensor, z: torch.Tensor, noises: torch.Tensor) -> tuple:
    steps, fed = (loop.first, *loop.later), []
    x0 = torch.zeros_like(z)
    for i, step in enumerate(steps):
        if i:
            z = step.m_z * z + step.m_x * x0 + step.m_n * noises[i - 1]
        fed.append(step.k_in * z)
        x0 = step.k_z * z - step.k_e * networks[i]
    return fed, x0


@pytest.mark.parametrize("steps", [1, 2, 4])
@pytest.mark.parametrize(("name", "options", "asked"), LOOPS)
@pytest.mark.parametrize("predicts", ["epsilon", "v_prediction", "sample"])
def test_a_loop_is_that_of_diffusers(name: str, options: dict, asked: dict, predicts: str, steps: int):
    if (name, predicts) == ("EulerAncestralDiscreteScheduler", "sample"):
        pytest.skip("diffusers has not implemented it")
    config = {**options, "prediction_type": predicts}
    scheduler = getattr(diffusers, name).from_config(config)
    own = tuple(asked.get("timesteps", ())[:steps])
    scheduler.set_timesteps(**({"timesteps": [int(t) for t in own]} if own else {"num_inference_steps": steps}))
    generator = torch.Generator().manual_seed(0)
    z, *others = torch.randn(9, 1, 4, 8, 8, generator=generator, dtype=torch.float64)
    networks, noises = torch.stack(others[:4]), torch.stack(others[4:])
    how = {"eta": asked["eta"]} if "eta" in asked else {}
    fed, x0 = _drawn_by_diffusers(scheduler, networks, z, noises, **how)

    loop = loop_from_scheduler(name, config, steps, Asked(timesteps=own or None, eta=asked.get("eta", 0.3)))
    our_fed, our_x0 = _drawn_by_loop(loop, networks, z, noises)

    assert [loop.first.timestep, *(step.timestep for step in loop.later)] == [float(t) for t in scheduler.timesteps]
    for ours, theirs in zip([*our_fed, our_x0], [*fed, x0], strict=True):
        assert (ours - theirs).abs().max() / theirs.abs().max() < 1e-5


@pytest.mark.parametrize("steps", [1, 2, 4])
def test_trigflow_is_that_of_sana_sprint(steps: int):
    """SCMScheduler with what SanaSprintPipeline does around it: in units of sigma_data, a linear flow's network."""
    scheduler = diffusers.SCMScheduler(prediction_type="trigflow", sigma_data=0.5)
    scheduler.set_timesteps(steps, intermediate_timesteps=1.3 if steps == 2 else None)
    z, *others = torch.randn(9, 1, 4, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    networks, noises = torch.stack(others[:4]), torch.stack(others[4:])
    latents, fed, told = z * 0.5, [], []
    for i, u in enumerate(scheduler.timesteps[:-1].double()):
        s = torch.sin(u) / (torch.cos(u) + torch.sin(u))
        root = torch.sqrt(s**2 + (1 - s) ** 2)
        x_in = latents / 0.5 * root
        v = ((1 - 2 * s) * x_in + (1 - 2 * s + 2 * s**2) * networks[i]) / root * 0.5
        told.append(float(s))
        fed.append(x_in)
        with patch("diffusers.schedulers.scheduling_scm.randn_tensor", lambda *_, i=i, **__: noises[i]):
            latents, denoised = scheduler.step(v, u, latents, return_dict=False)
    loop = trigflow(steps, None, scheduler.config)
    our_fed, our_x0 = _drawn_by_loop(loop, networks, z, noises)
    assert [loop.first.timestep, *(step.timestep for step in loop.later)] == pytest.approx(told, rel=1e-6)
    for ours, theirs in zip([*our_fed, our_x0], [*fed, denoised / 0.5], strict=True):
        assert (ours - theirs).abs().max() / theirs.abs().max() < 1e-5


def test_a_scheduler_of_many_steps_gives_its_noise_schedule_to_a_timestep_by_hand():
    by_hand = step_from_scheduler("PNDMScheduler", SD, timestep=399)
    boundary = step_from_scheduler("LCMScheduler", SD, timestep=399)
    assert (by_hand.k_in, by_hand.k_z, by_hand.k_e) == pytest.approx((1, boundary.k_z, boundary.k_e), rel=1e-6)


@pytest.mark.parametrize(
    ("name", "options", "steps", "asked", "says"),
    [
        ("DDPMScheduler", TRAILING, 2, {}, "2 steps of DDPMScheduler; expected 1"),
        ("LCMScheduler", SD, 2, {"alpha_bar": 0.1}, "alpha_bar"),
        ("LCMScheduler", SD, 2, {"timesteps": (499.0, 999.0)}, "that fall"),
        ("LCMScheduler", SD, 2, {"timesteps": (999.0, 499.0, 1.0)}, "999, 499, 1 for 2 steps"),
        ("LCMScheduler", {**SD, "original_inference_steps": 2}, 4, {}, "at most the 2"),
        ("EulerDiscreteScheduler", {**EULER, "use_karras_sigmas": True}, 4, {}, "use_karras_sigmas"),
        ("FlowMatchEulerDiscreteScheduler", {}, 1, {"timesteps": (999.0,)}, "FlowMatchEuler"),
    ],
)
def test_refuses_loops(name: str, options: dict, steps: int, asked: dict, says: str):
    with pytest.raises(BadInput, match=says):
        loop_from_scheduler(name, options, steps, Asked(**asked))


@pytest.mark.parametrize(("angles", "says"), [((1.3, 1.5), "that fall"), ((2.0,), "at most")])
def test_refuses_angles(angles: tuple, says: str):
    with pytest.raises(BadInput, match=says):
        trigflow(len(angles), angles, {"prediction_type": "trigflow"})
