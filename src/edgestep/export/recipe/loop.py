"""A family, a checkpoint's scheduler and what was said by hand -> the Loop that is exported."""

from collections.abc import Mapping
from typing import Any

from edgestep.artifact import BadInput
from edgestep.export.recipe.detect import Detected, looked_at, steps_by_file
from edgestep.export.recipe.families import FAMILIES, OWN, PLAIN, RECTIFIED_FLOW, TRIGFLOW, Family
from edgestep.export.recipe.flow import rectified_flow, trigflow
from edgestep.export.recipe.schedule import SCHEDULERS, Asked, Loop, loop_from_scheduler
from edgestep.export.source.checkpoint import Checkpoint
from edgestep.export.source.source import Source

NOISE_KEYS = ("num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "trained_betas")
"""What a family takes from the checkpoint's own scheduler: the noise schedule that it was trained with."""
ENDS_KEY = "set_alpha_to_one"
"""Where DDIM ends, alpha_bar 1 or that of t = 0. Stable Diffusion's own folders say the latter, whoever reads them."""
KEPT_KEYS = (*NOISE_KEYS, "original_inference_steps", "timestep_scaling")


def loop_from_family(detected: Detected, checkpoint: Checkpoint) -> Loop:
    """Return the constants of the checkpoint's steps.

    Raises BadInput where the family does not offer that many steps, two things said by hand contradict each other, or
    nothing says how the network is to be run.
    """
    row, source = detected.row, checkpoint.source
    steps = _steps(source)
    timesteps = _timesteps(detected, checkpoint, steps)
    if row.scheduler == TRIGFLOW:
        _check_no(source, detected.name)
        return trigflow(steps, timesteps or None, checkpoint.configs["scheduler"])
    if row.scheduler == RECTIFIED_FLOW and (source.prediction_type or "velocity") == "velocity":
        _check_no(source, detected.name)
        return rectified_flow(timesteps[0])
    name, config = _scheduler(row, checkpoint)
    if name not in SCHEDULERS and not timesteps:
        raise _unknown(checkpoint)
    overridden = source.alpha_bar is not None or source.timestep is not None or bool(source.timesteps)
    alpha_bar = source.alpha_bar if overridden or steps > 1 else row.alpha_bar
    predicts = source.prediction_type or (row.one_step_predicts if steps == 1 else "") or row.prediction_type or None
    asked = Asked(timesteps or None, predicts, alpha_bar, row.eta)
    return loop_from_scheduler(name, config, steps, asked)


def _scheduler(row: Family, checkpoint: Checkpoint) -> tuple[str, Mapping[str, Any]]:
    """Return class and config: the family's over the noise schedule of the checkpoint's; the checkpoint's for PLAIN."""
    own = checkpoint.configs["scheduler"]
    if row is PLAIN:
        return checkpoint.scheduler_class, own
    same = checkpoint.scheduler_class == row.scheduler
    kept = {key: own[key] for key in (*(KEPT_KEYS if same else NOISE_KEYS), ENDS_KEY) if key in own}
    return row.scheduler, {**kept, **row.config}


def _steps(source: Source) -> int:
    named = len(source.timesteps or ())
    if source.timestep is not None and (named or source.steps > 1):
        raise BadInput(
            f"got timestep {source.timestep:g} beside {named or source.steps} steps; expected one or the other; name "
            "every step with --timesteps"
        )
    if named and source.steps not in (1, named):
        raise BadInput(f"got {named} timesteps for {source.steps} steps; expected as many; leave one of the two out")
    if (named or source.steps) < 1:
        raise BadInput(f"got {source.steps} steps; expected 1, 2 or 4; choose one")
    return named or source.steps


def _timesteps(detected: Detected, checkpoint: Checkpoint, steps: int) -> tuple[float, ...]:
    """Return those given by hand, else the family's; OWN where the scheduler chooses."""
    source = checkpoint.source
    if source.timesteps:
        return tuple(float(t) for t in source.timesteps)
    if source.timestep is not None:
        return (float(source.timestep),)
    offered = detected.row.timesteps
    _check_file(detected, checkpoint, steps)
    if steps not in offered:
        known = " or ".join(str(n) for n in sorted(offered))
        raise BadInput(
            f"got {steps} steps for family {detected.name} ({detected.why}); expected {known}; choose one of these, or "
            "name the steps with --timesteps"
        )
    return offered.get(steps, OWN)


def _check_file(detected: Detected, checkpoint: Checkpoint, steps: int) -> None:
    """Refuse weights that were trained for another number of steps: they would draw a blur. A unified LoRA has any."""
    named, file = steps_by_file(checkpoint)
    unified = detected.row.scheduler == "TCDScheduler" and named == 1
    if named and named != steps and not unified:
        raise BadInput(
            f"got {steps} steps with {file}, whose name says {named}; expected {named}; give --steps {named}, or name "
            "the steps with --timesteps"
        )


def _check_no(source: Source, name: str) -> None:
    """Refuse words that a flow has no meaning for."""
    for key in ("alpha_bar", "prediction_type"):
        if getattr(source, key) not in (None, "velocity", "trigflow"):
            raise BadInput(f"got {key} {getattr(source, key)} for {name}, a flow without it; leave it out")


def _unknown(checkpoint: Checkpoint) -> BadInput:
    fitting = ", ".join(name for name, row in FAMILIES.items() if checkpoint.base in row.bases)
    return BadInput(
        f"got {checkpoint.scheduler_class}, a scheduler of many steps, and nothing that tells the one-step family "
        f"(looked at {looked_at(checkpoint)}); expected one of {fitting}; say which with --family, or give --timestep, "
        "and --prediction-type and --alpha-bar where they differ from the scheduler's"
    )
