"""A folder's networks -> ways to draw: CHECKPOINT in one step, the teacher in many."""

from collections.abc import Sequence

from edgestep.distill.evaluation.ways import Way, one_step_way, steps_way, teacher_way
from edgestep.distill.folders import Parts


def teacher_ways(parts: Parts, guidance: float, steps: tuple[int, ...]) -> list[Way]:
    """Return the teacher at each number of steps; the first is what diversity is relative to."""
    return [teacher_way(parts.teacher, parts.vae, guidance, count) for count in steps]


def checkpoint_way(name: str, parts: Parts, times: Sequence[int] = ()) -> Way:
    """Return the generator of a folder, with the folder's own text encoder and VAE; in one step when no `times`."""
    teacher = parts.teacher
    if not times:
        return one_step_way(name, teacher, teacher.unet, parts.vae)
    return steps_way(name, teacher, teacher.unet, parts.vae, times)
