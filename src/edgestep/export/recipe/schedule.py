"""A scheduler's config -> (t, k_in, k_z, k_e) of its steps and what lies between them, in closed form and float64.

With F the network's output, a = alpha_bar_t and one step from pure noise z:

    epsilon        x0 = z/sqrt(a) - sqrt((1-a)/a) F          eps = F
    v_prediction   x0 = sqrt(a) z - sqrt(1-a) F              eps = sqrt(1-a) z + sqrt(a) F
    sample         x0 = F                                    eps = (z - sqrt(a) F) / sqrt(1-a)

Each scheduler then returns some mix of x0, eps and z; the Euler families feed the network sqrt(1-a) z instead of z,
because they start from sigma z where the process would have z sqrt(sigma^2 + 1).

In a loop, every step but the last returns x0, and z' = m_z z + m_x x0 + m_n n. After the first step z is always the
process's own sqrt(a) x0 + sqrt(1-a) eps, what the network is fed, also for the Euler families.
"""

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgestep.artifact import BadInput, NextStep

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
class Loop:
    """The first step, and those after it: none for a one-step generator."""

    first: Step
    later: tuple[NextStep, ...] = ()


@dataclass(frozen=True)
class Asked:
    """What overrides a scheduler's config: timesteps (as many as steps), what F predicts, alpha_bar of a single step.

    `eta` is the share of fresh noise between the steps of TCD, its gamma; 0.3 is TCDScheduler's own default.
    """

    timesteps: tuple[float, ...] | None = None
    prediction_type: str | None = None
    alpha_bar: float | None = None
    eta: float = 0.3


@dataclass(frozen=True)
class _At:
    """Where the step starts: alpha_bar at t, and its x0 and eps."""

    alpha_bar: float
    timestep: float
    first_alpha_bar: float
    predicts: str
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
    """Return the constants of one step of that diffusers scheduler: `loop_from_scheduler` with one step."""
    timesteps = None if timestep is None else (float(timestep),)
    return loop_from_scheduler(scheduler, config, 1, Asked(timesteps, prediction_type, alpha_bar)).first


def loop_from_scheduler(scheduler: str, config: Mapping[str, Any], steps: int, asked: Asked = Asked()) -> Loop:
    """Return the constants of `steps` steps of that diffusers scheduler; what is asked overrides its config.

    Without timesteps: what LCM and TCD choose of their origin timesteps, and trailing spacing for the others, whatever
    spacing the config names: leading spacing would put a single step at t = 0 or 1. A scheduler that is not in
    SCHEDULERS is taken for its noise schedule alone where timesteps are given: x0, then noised anew for the next step.
    Raises BadInput for a scheduler without a formula, for a config whose step is not linear (clipping, thresholding) or
    is random, and for more steps than one of a scheduler whose loop is not known.
    """
    row = _row(scheduler, config, asked)
    config = {**row.defaults, **config}
    predicts = asked.prediction_type or config.get("prediction_type", "epsilon")
    if predicts not in PREDICTION_TYPES:
        raise BadInput(f"got prediction type {predicts!r}; expected one of {', '.join(PREDICTION_TYPES)}")
    for key in ("clip_sample", "thresholding"):
        if config.get(key):
            raise BadInput(f"got {key} = true in the scheduler; expected false, as for latents; set it so")
    bars = alpha_bars(config, keeps_last_positive=row.keeps_last_positive)
    timesteps = asked.timesteps or row.timesteps(config, steps)
    if steps > 1:
        _check_loop(scheduler, row, config, steps, timesteps, asked)
    ats = [_at(_alpha_bar(bars, t, asked), t, float(bars[0]), predicts) for t in timesteps]
    made = [_step(row, config, at, last=i == len(ats) - 1, first=i == 0) for i, at in enumerate(ats)]
    between = [row.between(bars, ats[i], ats[i + 1], asked.eta) for i in range(len(ats) - 1)] if row.between else []
    loop = Loop(made[0], tuple(_next(made, i, mix) for i, mix in enumerate(between)))
    _check_finite(loop, ats, predicts)
    return loop


def _row(scheduler: str, config: Mapping[str, Any], asked: Asked) -> "Scheduler":
    if scheduler in SCHEDULERS:
        return SCHEDULERS[scheduler]
    if asked.timesteps is not None and ("beta_start" in config or config.get("trained_betas") is not None):
        return X0
    raise BadInput(
        f"got scheduler {scheduler!r}, which has no single step of its own; expected one of {', '.join(SCHEDULERS)}; "
        "save it with one of these, or give --family, or --timestep (with --prediction-type and --alpha-bar)"
    )


def _check_loop(
    scheduler: str, row: "Scheduler", config: Mapping[str, Any], steps: int, timesteps: tuple[float, ...], asked: Asked
) -> None:
    if row.between is None:
        raise BadInput(f"got {steps} steps of {scheduler}; expected 1, the one it is known for; export one step")
    if asked.alpha_bar is not None:
        raise BadInput(f"got an alpha_bar beside {steps} steps; expected it for a single step; leave it out")
    if len(timesteps) != steps or any(a <= b for a, b in itertools.pairwise(timesteps)):
        got = ", ".join(f"{t:g}" for t in timesteps)
        raise BadInput(f"got timesteps {got} for {steps} steps; expected {steps} that fall; name that many")
    for key in ("use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas"):
        if config.get(key):
            raise BadInput(f"got {key} = true and {steps} steps; expected false: steps at whole timesteps; set it so")


def _step(row: "Scheduler", config: Mapping[str, Any], at: _At, *, first: bool, last: bool) -> Step:
    k_in, mix = (row.step if last else row.inner)(config, at)
    if not first:  # z is x_in by then
        mix, k_in = Mix(mix.z / k_in, mix.f), 1.0
    return Step(timestep=at.timestep, prediction_type=at.predicts, k_in=k_in, k_z=mix.z, k_e=-mix.f)


def _next(steps: list[Step], i: int, between: tuple[float, float, float]) -> NextStep:
    """Return step i + 1; `between` is (m_z, m_x, m_n) for a z that is x_in."""
    step, (m_z, m_x, m_n) = steps[i + 1], between
    return NextStep(step.timestep, step.k_in, step.k_z, step.k_e, m_z * steps[i].k_in, m_x, m_n)


def _check_finite(loop: Loop, ats: list[_At], predicts: str) -> None:
    for step, at in zip((loop.first, *loop.later), ats, strict=True):
        constants = [value for value in vars(step).values() if not isinstance(value, str)]
        if not all(math.isfinite(k) for k in constants):
            a, t = at.alpha_bar, at.timestep
            raise BadInput(
                f"got alpha_bar {a} at t = {t:g}, where x0 cannot be had from {predicts}; choose a smaller timestep"
            )


def _alpha_bar(bars: np.ndarray, t: float, asked: Asked) -> float:
    return _alpha_bar_at(bars, t) if asked.alpha_bar is None else float(asked.alpha_bar)


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
        return _At(a, t, first, predicts, Mix(0.0, 1.0), Mix(1 / noise, -root / noise))
    if predicts == "v_prediction":
        return _At(a, t, first, predicts, Mix(root, -noise), Mix(noise, root))
    if root == 0:
        return _At(a, t, first, predicts, Mix(math.inf, -math.inf), Mix(0.0, 1.0))
    return _At(a, t, first, predicts, Mix(1 / root, -noise / root), Mix(0.0, 1.0))


def _trailing(config: Mapping[str, Any], steps: int) -> tuple[float, ...]:
    """Return T-1, T-1 - T/n, ...: 999, 749, 499, 249."""
    total = int(config.get("num_train_timesteps", 1000))
    return tuple(float(round(total - i * total / steps) - 1) for i in range(steps))


def _of_origin(config: Mapping[str, Any], steps: int) -> tuple[float, ...]:
    """Return `steps` of k-1, 2k-1, ..., with k the spacing of the steps that the model was distilled on: 999, 759 ...

    Evenly spread over their ranks from the largest down (2310.04378, section 4.3, as in LCMScheduler).
    """
    origin = int(config.get("original_inference_steps", 50))
    k = int(config.get("num_train_timesteps", 1000)) // origin
    if steps > origin:
        raise BadInput(f"got {steps} steps; expected at most the {origin} that it was distilled on; take fewer")
    return tuple(float(k * (origin - math.floor(i * origin / steps)) - 1) for i in range(steps))


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


def _x0(_: Mapping[str, Any], at: _At) -> tuple[float, Mix]:
    return 1.0, at.x0


Between = tuple[float, float, float]
"""m_z, m_x, m_n."""


def _noised_anew(bars: np.ndarray, at: _At, to: _At, eta: float) -> Between:
    """Multistep consistency sampling, z' = sqrt(a') x0 + sqrt(1-a') n: Song et al. 2023 (2303.01469), algorithm 1."""
    return 0.0, math.sqrt(to.alpha_bar), math.sqrt(1 - to.alpha_bar)


def _towards(at: _At, alpha_bar: float) -> tuple[float, float]:
    """Return (m_z, m_x) of sqrt(b) x0 + sqrt(1-b) eps, with eps = (z - sqrt(a) x0) / sqrt(1-a)."""
    m_z = math.sqrt((1 - alpha_bar) / (1 - at.alpha_bar))
    return m_z, math.sqrt(alpha_bar) - m_z * math.sqrt(at.alpha_bar)


def _ddim_between(bars: np.ndarray, at: _At, to: _At, eta: float) -> Between:
    """Song et al. 2020 (2010.02502), equation 12 with sigma = 0; to the next timestep of the loop, wherever that is."""
    return (*_towards(at, to.alpha_bar), 0.0)


def _tcd_between(bars: np.ndarray, at: _At, to: _At, eta: float) -> Between:
    """Strategic stochastic sampling: down to s = (1 - eta) t', then up with fresh noise (2402.19159, algorithm 4)."""
    s = float(bars[math.floor((1 - eta) * to.timestep)])
    up = to.alpha_bar / s
    m_z, m_x = _towards(at, s)
    return math.sqrt(up) * m_z, math.sqrt(up) * m_x, math.sqrt(max(1 - up, 0.0)) if eta > 0 else 0.0


def _euler_between(bars: np.ndarray, at: _At, to: _At, eta: float) -> Between:
    """Euler's step from sigma to sigma' in the variance-preserving frame is DDIM's (2010.02502, section 4.3)."""
    return _ddim_between(bars, at, to, eta)


def _ancestral_between(bars: np.ndarray, at: _At, to: _At, eta: float) -> Between:
    """Down to sigma_down, then up with noise of sigma_up; z' = sqrt(a') (x0 + ...), from k-diffusion's sampler."""
    sigma, aim = (math.sqrt((1 - x.alpha_bar) / x.alpha_bar) for x in (at, to))
    up = math.sqrt(aim**2 * (sigma**2 - aim**2) / sigma**2)
    down = math.sqrt(aim**2 - up**2)
    root = math.sqrt(to.alpha_bar)
    return root * down / sigma / math.sqrt(at.alpha_bar), root * (1 - down / sigma), root * up


@dataclass(frozen=True)
class Scheduler:
    """One row: its timesteps, what its last step returns, what one before it does, and how the next z is made.

    `defaults` are those that its class fills in; `between` is None where no loop is known.
    """

    timesteps: Callable[[Mapping[str, Any], int], tuple[float, ...]]
    step: Callable[[Mapping[str, Any], _At], tuple[float, Mix]]
    inner: Callable[[Mapping[str, Any], _At], tuple[float, Mix]]
    between: Callable[[np.ndarray, _At, _At, float], Between] | None
    defaults: Mapping[str, Any]
    keeps_last_positive: bool = False


_PIXELS = {"beta_start": 0.0001, "beta_end": 0.02, "beta_schedule": "linear"}
_LATENTS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
_EULER = {**_PIXELS, "timestep_spacing": "linspace"}
_CLIPPED = {**_PIXELS, "clip_sample": True}
SCHEDULERS: dict[str, Scheduler] = {
    "LCMScheduler": Scheduler(_of_origin, _lcm, _lcm, _noised_anew, _LATENTS),
    "TCDScheduler": Scheduler(_of_origin, _tcd, _x0, _tcd_between, _LATENTS),
    "DDIMScheduler": Scheduler(_trailing, _ddim, _x0, _ddim_between, _CLIPPED),
    "DDPMScheduler": Scheduler(_trailing, _ddpm, _ddpm, None, _CLIPPED),
    "EulerDiscreteScheduler": Scheduler(_trailing, _euler, _euler, _euler_between, _EULER, True),
    "EulerAncestralDiscreteScheduler": Scheduler(_trailing, _euler, _euler, _ancestral_between, _EULER, True),
}
"""diffusers scheduler class -> its steps."""
X0 = Scheduler(_trailing, _x0, _x0, _noised_anew, _PIXELS)
"""x0 itself, for timesteps that are given by hand: the noise schedule is all that is taken from the scheduler."""
