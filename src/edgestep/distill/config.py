"""What a distillation is told: the method and its numbers."""

from dataclasses import dataclass, fields

from edgestep.artifact import BadInput
from edgestep.distill.losses.regression import KINDS

METHODS = ("dmd", "dmd2")


@dataclass(frozen=True)
class Config:
    """DMD or DMD2, step by step; every number that the trainer needs.

    `real_guidance` is the real score's guidance, `guidance` for 0. `pairs` deterministic pairs of the teacher
    (`pair_steps` DDIM steps, guidance `guidance`) feed `regression_steps`
    of warm start and, with `regression_weight` above 0, the regression beside the matching. Then `matching_steps` of
    the generator, `fake_updates` of the fake score to each (two time scales, DMD2 section 4.2). `adversarial_weight`
    above 0 adds DMD2's GAN term. `later_steps` are the t of a student of several steps, falling, after
    `conditioning_t` (DMD2 section 4.4). Every `look_every` steps the fixed prompts are drawn.
    `lora_rank` above 0 trains LoRAs of that rank (peft) in place of every weight, merged at the end.
    """

    method: str = "dmd"
    seed: int = 0
    guidance: float = 3.0
    real_guidance: float = 0.0
    conditioning_t: int = 999
    later_steps: tuple[int, ...] = ()
    batch: int = 48
    pairs: int = 2560
    pair_steps: int = 50
    regression_kind: str = "l2"
    regression_steps: int = 700
    regression_lr: float = 3e-4
    regression_weight: float = 0.25
    matching_steps: int = 300
    matching_weight: float = 1.0
    lr: float = 1e-4
    fake_lr: float = 2e-4
    fake_updates: int = 3
    adversarial_weight: float = 0.0
    fake_adversarial_weight: float = 1e-2
    average: float = 0.99
    clip: float = 1.0
    lora_rank: int = 0
    gradient_checkpointing: bool = False
    look_every: int = 100


PUBLISHED = {
    "dmd": Config(),
    "dmd2": Config(method="dmd2", regression_steps=0, regression_weight=0.0, adversarial_weight=1e-3, fake_updates=5),
}
"""What a config's fields are when nobody tells: DMD2 has no regression, the GAN term, and two time scales."""


def check_config(config: Config) -> None:
    """Raise BadInput where the config names what there is not, or asks for what cannot be trained."""
    for name, got, known in (("method", config.method, METHODS), ("regression_kind", config.regression_kind, KINDS)):
        if got not in known:
            raise BadInput(f"got {name} {got!r}; expected one of {', '.join(known)}; choose one of these")
    for field in fields(config):
        got, kind = getattr(config, field.name), type(field.default)
        fits = isinstance(got, kind) and isinstance(got, bool) == (kind is bool)
        if not fits and not (kind is float and type(got) is int):
            raise BadInput(f"got {field.name} {got!r}; expected {kind.__name__}, as {field.default!r}; correct it")
        if kind in {int, float} and got < 0:
            raise BadInput(f"got {field.name} {got!r}; expected 0 or more; correct it")
    _check_times(config)
    if config.batch < 2 or config.pairs < 1 or config.fake_updates < 1:
        raise BadInput(
            f"got batch {config.batch}, pairs {config.pairs}, fake_updates {config.fake_updates}; "
            "expected at least 2, 1 and 1; correct them"
        )


def _check_times(config: Config) -> None:
    times = [config.conditioning_t, *config.later_steps]
    if not all(isinstance(t, int) and t >= 0 for t in times) or times != sorted(set(times), reverse=True):
        raise BadInput(f"got conditioning_t and later_steps {times}; expected falling t, none below 0; correct them")
    if config.later_steps and config.regression_weight:
        raise BadInput(
            f"got later_steps {list(config.later_steps)} and regression_weight {config.regression_weight}; expected "
            "weight 0: the pairs teach the first step alone; set one of them to nothing"
        )
