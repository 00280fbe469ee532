"""A scheduler's config -> (t, k_in, k_z, k_e) of its single step, in closed form and float64.

With F the network's output, a = alpha_bar_t and one step from pure noise z:

    epsilon        x0 = z/sqrt(a) - sqrt((1-a)/a) F          eps = F
    v_prediction   x0 = sqrt(a) z - sqrt(1-a) F              eps = sqrt(1-a) z + sqrt(a) F
    sample         x0 = F                                    eps = (z - sqrt(a) F) / sqrt(1-a)

Each scheduler then returns some mix of x0, eps and z; the Euler families feed the network sqrt(1-a) z instead of z,
because they start from sigma z where the process would have z sqrt(sigma^2 + 1).
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgestep.artifact import BadInput

PREDICTION_TYPES = ("epsilon", "v_prediction", "sample")
SIGMA_DATA = 0.5
"""Of the consistency boundary condition: Song et al. 2023 (2303.01469), appendix C."""


@dataclass(frozen=True)
class Mix:
    """A linear combination z_part * z + f_part * F."""

    z: float
    f: float

    def scaled(self, by: float) -> "Mix":
        """Return this times a number."""
        return Mix(by * self.z, by * self.f)

    def plus(self, other: "Mix") -> "Mix":
        """Return the sum of two."""
        return Mix(self.z + other.z, self.f + other.f)


@dataclass(frozen=True)
class Step:
    """What a single step does: x_in = k_in z, x0 = k_z z - k_e F."""

    timestep: float
    prediction_type: str
    k_in: float
    k_z: float
    k_e: float


@dataclass(frozen=True)
class _At:
    """Where the step starts: alpha_bar at t, and its x0 and eps."""

    alpha_bar: float
    timestep: float
    first_alpha_bar: float
    x0: Mix
    eps: Mix


def step_from_scheduler(
    scheduler: str,
    config: Mapping[str, Any],
    *,
    timestep: float | None = None,
    prediction_type: str | None = None,
    alpha_bar: float | None = None,
) -> Step:
    """Return the constants of one step of that diffusers scheduler; the keywords override what its config says.

    Without `timestep`: the largest origin timestep for LCM and TCD, the last training timestep (trailing spacing) for
    the others, whatever spacing the config names: leading spacing would put a single step at t = 0 or 1.
    Raises BadInput for a scheduler that is not in SCHEDULERS, and for a config whose step is not linear (clipping,
    thresholding) or is random.
    """
    if scheduler not in SCHEDULERS:
        raise BadInput(
            f"got scheduler {scheduler!r}; expected one of {', '.join(SCHEDULERS)}; save it with one of these"
        )
    row = SCHEDULERS[scheduler]
    config = {**row.defaults, **config}
    predicts = prediction_type or config.get("prediction_type", "epsilon")
    if predicts not in PREDICTION_TYPES:
        raise BadInput(f"got prediction type {predicts!r}; expected one of {', '.join(PREDICTION_TYPES)}")
    for key in ("clip_sample", "thresholding"):
        if config.get(key):
            raise BadInput(f"got {key} = true in the scheduler; expected false, as for latents; set it so")
    bars = alpha_bars(config, keeps_last_positive=row.keeps_last_positive)
    t = row.timestep(config) if timestep is None else float(timestep)
    a = _alpha_bar_at(bars, t) if alpha_bar is None else float(alpha_bar)
    k_in, mix = row.step(config, _at(a, t, float(bars[0]), predicts))
    step = Step(timestep=t, prediction_type=predicts, k_in=k_in, k_z=mix.z, k_e=-mix.f)
    if not all(math.isfinite(k) for k in (step.k_in, step.k_z, step.k_e)):
        raise BadInput(
            f"got alpha_bar {a} at t = {t:g}, where x0 cannot be had from {predicts}; choose a smaller timestep"
        )
    return step


def alpha_bars(config: Mapping[str, Any], *, keeps_last_positive: bool = False) -> np.ndarray:
    """Return alpha_bar_t for every training timestep, float64 [T].

    Computed from the betas as diffusers does, but in float64; with `rescale_betas_zero_snr` shifted and scaled so that
    the last is 0 (Lin et al. 2023, 2305.08891, algorithm 1), which the Euler families replace by 2^-24.
    """
    total = int(config.get("num_train_timesteps", 1000))
    start, end = float(config["beta_start"]), float(config["beta_end"])
    kind = config.get("beta_schedule", "linear")
    if config.get("trained_betas") is not None:
        betas = np.asarray(config["trained_betas"], np.float64)
    elif kind == "linear":
        betas = np.linspace(start, end, total)
    elif kind == "scaled_linear":
        betas = np.linspace(start**0.5, end**0.5, total) ** 2
    elif kind == "squaredcos_cap_v2":
        grid = np.cos((np.arange(total + 1) / total + 0.008) / 1.008 * np.pi / 2) ** 2
        betas = np.minimum(1 - grid[1:] / grid[:-1], 0.999)
    else:
        raise BadInput(f"got beta_schedule {kind!r}; expected linear, scaled_linear or squaredcos_cap_v2")
    bars = np.cumprod(1 - betas)
    if config.get("rescale_betas_zero_snr"):
        roots = np.sqrt(bars)
        bars = ((roots - roots[-1]) * roots[0] / (roots[0] - roots[-1])) ** 2
        if keeps_last_positive:
            bars[-1] = 2.0**-24
    return bars


def _alpha_bar_at(bars: np.ndarray, t: float) -> float:
    if not (t.is_integer() and 0 <= t < len(bars)):
        raise BadInput(f"got timestep {t:g}; expected a whole number from 0 to {len(bars) - 1}, or alpha_bar beside it")
    return float(bars[int(t)])


def _at(a: float, t: float, first: float, predicts: str) -> _At:
    if not 0 <= a < 1:
        raise BadInput(f"got alpha_bar {a}; expected a number from 0 to 1, as a noise schedule has")
    root, noise = math.sqrt(a), math.sqrt(1 - a)
    if predicts == "sample":
        return _At(a, t, first, Mix(0.0, 1.0), Mix(1 / noise, -root / noise))
    if predicts == "v_prediction":
        return _At(a, t, first, Mix(root, -noise), Mix(noise, root))
    if root == 0:
        return _At(a, t, first, Mix(math.inf, -math.inf), Mix(0.0, 1.0))
    return _At(a, t, first, Mix(1 / root, -noise / root), Mix(0.0, 1.0))


def _last_timestep(config: Mapping[str, Any]) -> float:
    return float(int(config.get("num_train_timesteps", 1000)) - 1)


def _largest_origin_timestep(config: Mapping[str, Any]) -> float:
    """Return the largest of k-1, 2k-1, ..., with k the spacing of the steps that the model was distilled on."""
    steps = int(config.get("original_inference_steps", 50))
    return float(steps * (int(config.get("num_train_timesteps", 1000)) // steps) - 1)


def _lcm(config: Mapping[str, Any], at: _At) -> tuple[float, Mix]:
    """Return c_out x0 + c_skip z, the boundary condition of a consistency model (2310.04378, section 4.1)."""
    scaled = at.timestep * float(config.get("timestep_scaling", 10.0))
    c_skip = SIGMA_DATA**2 / (scaled**2 + SIGMA_DATA**2)
    c_out = scaled / math.sqrt(scaled**2 + SIGMA_DATA**2)
    return 1.0, at.x0.scaled(c_out).plus(Mix(c_skip, 0.0))


def _noised(at: _At, to: float) -> Mix:
    return at.x0.scaled(math.sqrt(to)).plus(at.eps.scaled(math.sqrt(1 - to)))


def _ddim(config: Mapping[str, Any], at: _At) -> tuple[float, Mix]:
    return 1.0, _noised(at, 1.0 if config.get("set_alpha_to_one", True) else at.first_alpha_bar)


def _tcd(_: Mapping[str, Any], at: _At) -> tuple[float, Mix]:
    """TCD's last step lands on s = 0, whose alpha_bar is not quite 1: what it returns keeps a little noise."""
    return 1.0, _noised(at, at.first_alpha_bar)


def _ddpm(config: Mapping[str, Any], at: _At) -> tuple[float, Mix]:
    """The posterior mean of a step to alpha_bar = 1 is x0; its small variance is then 0."""
    kind = config.get("variance_type", "fixed_small")
    if kind not in ("fixed_small", "fixed_small_log"):
        raise BadInput(f"got variance_type {kind!r} in DDPMScheduler, which adds noise to the result; use fixed_small")
    return 1.0, at.x0


def _euler(config: Mapping[str, Any], at: _At) -> tuple[float, Mix]:
    """One Euler step from sigma to 0; clients draw sigma z (trailing, linspace) or sqrt(sigma^2 + 1) z (leading)."""
    k_in = 1.0 if config.get("timestep_spacing") == "leading" else math.sqrt(1 - at.alpha_bar)
    if config.get("final_sigmas_type", "zero") != "zero":
        raise BadInput(f"got final_sigmas_type {config['final_sigmas_type']!r}; expected 'zero' for a single step")
    # x0 of the process at x_in: the formula's z stands for x_in = k_in z.
    return k_in, Mix(at.x0.z * k_in, at.x0.f)


@dataclass(frozen=True)
class Scheduler:
    """One row: where its single step starts, what it returns, and the defaults that its class fills in."""

    timestep: Callable[[Mapping[str, Any]], float]
    step: Callable[[Mapping[str, Any], _At], tuple[float, Mix]]
    defaults: Mapping[str, Any]
    keeps_last_positive: bool = False


_PIXELS = {"beta_start": 0.0001, "beta_end": 0.02, "beta_schedule": "linear"}
_LATENTS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
_EULER = {**_PIXELS, "timestep_spacing": "linspace"}
SCHEDULERS: dict[str, Scheduler] = {
    "LCMScheduler": Scheduler(_largest_origin_timestep, _lcm, _LATENTS),
    "TCDScheduler": Scheduler(_largest_origin_timestep, _tcd, _LATENTS),
    "DDIMScheduler": Scheduler(_last_timestep, _ddim, {**_PIXELS, "clip_sample": True}),
    "DDPMScheduler": Scheduler(_last_timestep, _ddpm, {**_PIXELS, "clip_sample": True}),
    "EulerDiscreteScheduler": Scheduler(_last_timestep, _euler, _EULER, True),
    "EulerAncestralDiscreteScheduler": Scheduler(_last_timestep, _euler, _EULER, True),
}
"""diffusers scheduler class -> its single step."""
