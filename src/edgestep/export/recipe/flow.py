"""Steps of networks that predict a velocity: rectified flow and TrigFlow -> the same constants as any other.

rectified flow (2209.03003, InstaFlow 2309.06380)   x0 = z + F, where F points from noise to picture at t = 1000
TrigFlow (2410.11081, SANA-Sprint 2503.09641)       x0 = cos(u) z - sin(u) v(u), z' = cos(u') x0 + sin(u') n

SANA-Sprint's network was trained for a linear flow: it is told s = sin u / (sin u + cos u) and fed r z with
r = sqrt(s^2 + (1-s)^2), and its F makes v = (1 - 2s) z + r F (2503.09641, section 3.1). With cos u = (1-s)/r and
sin u = s/r this is x0 = r z - s F. Everything is in units of sigma_data.
"""

import itertools
import math
from collections.abc import Mapping
from typing import Any

from edgestep.artifact import BadInput, NextStep
from edgestep.export.recipe.schedule import Loop, Step

LARGEST_ANGLE, SECOND_ANGLE = 1.57080, 1.3
"""SanaSprintPipeline's angles of the first step, and of the second of two."""


def rectified_flow(timestep: float = 1000.0) -> Loop:
    """Return the single Euler step over the whole straight path."""
    return Loop(Step(float(timestep), "velocity", 1.0, 1.0, -1.0))


def trigflow(steps: int, angles: tuple[float, ...] | None, config: Mapping[str, Any]) -> Loop:
    """Return SCMScheduler's loop; `angles` are in radians and fall, and `timestep` of the result is s.

    Raises BadInput for a scheduler that predicts something else, or angles outside (0, pi/2].
    """
    predicts = config.get("prediction_type", "trigflow")
    if predicts != "trigflow":
        raise BadInput(f"got prediction type {predicts!r} in SCMScheduler; expected 'trigflow'; set it so")
    angles = angles or _angles(steps)
    if not all(0 < u <= LARGEST_ANGLE for u in angles) or any(a <= b for a, b in itertools.pairwise(angles)):
        got = ", ".join(f"{u:g}" for u in angles)
        raise BadInput(f"got timesteps {got}; expected angles that fall, at most {LARGEST_ANGLE}; choose such")
    first = _constants(angles[0])
    later = (NextStep(*_constants(u), 0.0, math.cos(u), math.sin(u)) for u in angles[1:])
    return Loop(Step(first[0], "trigflow", *first[1:]), tuple(later))


def _angles(steps: int) -> tuple[float, ...]:
    if steps == 2:
        return (LARGEST_ANGLE, SECOND_ANGLE)
    return tuple(LARGEST_ANGLE * (1 - i / steps) for i in range(steps))


def _constants(u: float) -> tuple[float, float, float, float]:
    """Return s, k_in, k_z, k_e."""
    s = math.sin(u) / (math.sin(u) + math.cos(u))
    r = math.hypot(s, 1 - s)
    return s, r, r, s
