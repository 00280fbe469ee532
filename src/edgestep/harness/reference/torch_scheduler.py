"""A contract -> the diffusers scheduler that its family is published with, and the noises that it is to draw.

Which scheduler a family uses is written down here a second time, from the model cards, apart from the export room: a
wrong constant there is then a failed gate, not a shared mistake. Only what no scheduler of diffusers can express goes
by the contract's own formula (ContractScheduler), and the drawing says so.
"""

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from edgestep.artifact import BadInput, NextStep, OneStep

SCHEDULER, CONTRACT = "scheduler", "contract"
"""Values of `formula_by`: diffusers' own scheduler drew, or the formula of the contract did, in float64."""


@dataclass(frozen=True)
class Published:
    """A family's scheduler: `name` "" is the folder's own; `config` goes over the folder's; `call` to the pipeline."""

    name: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)
    call: Mapping[str, Any] = field(default_factory=dict)


_TRAILING = {"timestep_spacing": "trailing"}
_DDPM = {"clip_sample": False, "thresholding": False, "variance_type": "fixed_small"}
PUBLISHED: dict[str, Published] = {
    "dmd2-sd15": Published("LCMScheduler"),
    "dmd2-sdxl": Published("LCMScheduler"),
    "sd-turbo": Published("EulerDiscreteScheduler", _TRAILING),
    "sdxl-turbo": Published("EulerAncestralDiscreteScheduler", _TRAILING),
    "sdxl-lightning": Published("EulerDiscreteScheduler", _TRAILING),
    "hyper-sdxl": Published("LCMScheduler"),
    "hyper-sd15": Published("TCDScheduler", call={"eta": 1.0}),
    "hyper-sdxl-lora": Published("TCDScheduler", call={"eta": 1.0}),
    "hyper-nsteps": Published("DDIMScheduler", _TRAILING),
    "lcm-lora": Published("LCMScheduler"),
    "lcm": Published("LCMScheduler"),
    "sid-lsg": Published("EulerDiscreteScheduler", _TRAILING),
    "pixart-dmd": Published("DDPMScheduler", _DDPM),
}
"""Family -> what its model card sets; a family that is not here draws with its folder's own scheduler."""
TCD_ETA = 0.3
"""What TCDScheduler.step has where nobody says eta; the pipelines would say 0."""
BY_FORMULA = ("swiftbrush", "instaflow")
"""Published with a closed form that is none of diffusers' schedulers."""
SANA_SECOND_T = 1.3
"""Angle of the second of two steps, the default of SanaSprintPipeline."""


class ContractScheduler:
    """x_in = k_in z, x0 = k_z z - k_e F, z' = m_z z + m_x x0 + m_n n, in float64: what diffusers cannot express."""

    order = 1
    init_noise_sigma = 1.0

    def __init__(self, contract: OneStep, config: Any) -> None:
        self.contract, self.config, self.step_index = contract, config, 0
        self.steps = (contract, *contract.next_steps)

    def set_timesteps(self, num_inference_steps: int, device: Any = None) -> None:
        """Take the contract's timesteps, which need not be whole numbers."""
        import torch

        if num_inference_steps != len(self.steps):
            raise BadInput(f"got {num_inference_steps} steps; expected the contract's {len(self.steps)}")
        self.timesteps = torch.tensor([step.timestep for step in self.steps], dtype=torch.float32, device=device)
        self.step_index = 0

    def scale_model_input(self, sample: Any, timestep: Any = None) -> Any:
        """Return k_in z."""
        return (sample.double() * self.steps[self.step_index].k_in).to(sample.dtype)

    def step(self, model_output: Any, timestep: Any, sample: Any, return_dict: bool = True) -> tuple[Any, Any]:
        """Return (z', x0) as the pipelines take them; at the last step z' is x0."""
        index, z = self.step_index, sample.double()
        x0 = self.steps[index].k_z * z - self.steps[index].k_e * model_output.double()
        moved = x0 if index == len(self.contract.next_steps) else self._next(self.contract.next_steps[index], z, x0)
        self.step_index += 1
        return moved.to(sample.dtype), x0.to(sample.dtype)

    def _next(self, step: NextStep, z: Any, x0: Any) -> Any:
        moved = step.m_z * z + step.m_x * x0
        return moved + step.m_n * randn_tensor(z.shape, device=z.device, dtype=z.dtype) if step.m_n else moved


def randn_tensor(*_: Any, **__: Any) -> Any:
    """Stand where diffusers' schedulers have theirs, for `exact_noises`; nothing is ever drawn here."""
    raise BadInput("got a loop without its noises; expected more_noise, one per step after the first; hand it over")


@dataclass(frozen=True)
class Schedule:
    """A scheduler that is set up; `call` goes to the pipeline's call; `formula_by` is SCHEDULER or CONTRACT."""

    scheduler: Any
    call: Mapping[str, Any]
    formula_by: str


def schedule_from_contract(contract: OneStep, own: Any, *, alpha_bar: float | None = None) -> Schedule:
    """Return the scheduler that draws `contract`; `own` is the pipeline's, `alpha_bar` the user's override."""
    steps = {"num_inference_steps": 1 + len(contract.next_steps)}
    expressible = contract.family not in BY_FORMULA and contract.prediction_type != "velocity"
    if alpha_bar is None and expressible:
        published = PUBLISHED.get(contract.family, Published())
        scheduler = own if contract.base == "sana" else _set_up(published, own, contract.prediction_type)
        timesteps = _timesteps_call(scheduler, contract)
        if timesteps is not None:
            eta = {"eta": TCD_ETA} if type(scheduler).__name__ == "TCDScheduler" else {}
            return Schedule(scheduler, {**eta, **published.call, **steps, **timesteps}, SCHEDULER)
    return Schedule(ContractScheduler(contract, own.config), steps, CONTRACT)


def _set_up(published: Published, own: Any, prediction_type: str) -> Any:
    import diffusers

    kind = getattr(diffusers, published.name) if published.name else type(own)
    return kind.from_config(own.config, **{**published.config, "prediction_type": prediction_type})


def _timesteps_call(scheduler: Any, contract: OneStep) -> dict[str, Any] | None:
    """Return what makes the pipeline draw at the contract's timesteps; None where the scheduler cannot.

    The scheduler's own choice comes first. Leading spacing would put a single step at t = 1: it is then told the
    timesteps, or, where it takes none, to space them from the end, unless it would start from other noise than before.
    """
    expected = [contract.timestep, *(step.timestep for step in contract.next_steps)]
    if contract.base == "sana":
        return {"intermediate_timesteps": SANA_SECOND_T if len(expected) == 2 else None}
    if _own_timesteps(scheduler, len(expected)) == expected:
        return {}
    whole = [int(t) for t in expected]
    if "timesteps" in inspect.signature(scheduler.set_timesteps).parameters:
        return {"timesteps": whole} if whole == expected else None
    sigma = float(scheduler.init_noise_sigma)
    scheduler.register_to_config(timestep_spacing="trailing")
    same = _own_timesteps(scheduler, len(expected)) == expected and float(scheduler.init_noise_sigma) == sigma
    return {} if same else None


def _own_timesteps(scheduler: Any, steps: int) -> list[float]:
    scheduler.set_timesteps(steps)
    return [float(t) for t in scheduler.timesteps]


@contextmanager
def exact_noises(scheduler: Any, more_noise: Any | None) -> Iterator[None]:
    """Within the block the scheduler adds `more_noise[i]` after step i, instead of drawing new noise.

    `more_noise` [n-1, B, C, h, w] is a tensor, None for one step. A draw after the last step, which some schedulers
    multiply by zero, gets zeros. Raises BadInput where a loop lacks a noise.
    """
    module: Any = import_module(type(scheduler).__module__)
    if not hasattr(module, "randn_tensor"):
        yield
        return
    given = 0 if more_noise is None else len(more_noise)

    def this_noise(shape: Any, *_: Any, device: Any = None, dtype: Any = None, **__: Any) -> Any:
        import torch

        step = getattr(scheduler, "step_index", None) or 0
        if more_noise is not None and step < given:
            return more_noise[step].to(device, dtype)
        if step < steps_of(scheduler) - 1:
            raise BadInput(f"got {given} more noises; expected one per step after the first; hand them over")
        return torch.zeros(shape, device=device, dtype=dtype)

    drawn, module.randn_tensor = module.randn_tensor, this_noise
    try:
        yield
    finally:
        module.randn_tensor = drawn


def steps_of(scheduler: Any) -> int:
    """Return how many steps it is set up for."""
    return int(getattr(scheduler, "num_inference_steps", None) or len(scheduler.timesteps))
