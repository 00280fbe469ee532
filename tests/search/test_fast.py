"""The choice between float and w8a8 on known times and noises, and what is done where the clock disagrees."""

from itertools import combinations
from pathlib import Path

import pytest

from edgestep.artifact import BadInput
from edgestep.quantize.coreml.sensitivity import Choice, Sensitivity
from edgestep.search.fast import Attempt, least_and_float, solved_floats, within
from edgestep.search.trials import Figures

# module: (float ns, int ns, noise)
KNOWN = {"unet.a": (400, 100, 1e-3), "unet.b": (300, 100, 1e-6), "unet.c": (200, 150, 1e-2), "unet.d": (100, 120, 1e-4)}
REST = 100
TABLE = [
    *(Sensitivity(f"unet/{m}", (Choice(8, i, n), Choice(32, f, 0.0))) for m, (f, i, n) in KNOWN.items()),
    Sensitivity("unet/", (Choice(8, REST, 0.0), Choice(32, REST, 0.0))),
]
WHOLE = sum(f for f, _, _ in KNOWN.values()) + REST


def time_of(floats) -> int:
    kept = {module for _, module in floats}
    return REST + sum(f if m in kept else i for m, (f, i, _) in KNOWN.items())


def noise_of(floats) -> float:
    kept = {module for _, module in floats}
    return sum(n for m, (_, _, n) in KNOWN.items() if m not in kept)


class Clock:
    """Attempts whose time is the known one, and `late` where more than a module stays float."""

    def __init__(self, late: float = 0.0) -> None:
        self.late, self.made = late, []

    def __call__(self, floats) -> Attempt:
        self.made.append(floats)
        ratio = time_of(floats) / WHOLE + (self.late if len(floats) > 1 else 0)
        return Attempt(floats, Path("somewhere"), ratio, Figures(0, 100 - 1e3 * noise_of(floats), 1, 0, 0, 1))


def test_the_modules_that_stay_float_are_those_worth_their_time():
    assert least_and_float(TABLE) == (REST + 100 + 100 + 150 + 100, WHOLE)
    for ratio in (0.55, 0.7, 0.85, 1.0):
        found = solved_floats(TABLE, ratio)
        every = [tuple(("unet", m) for m in chosen) for n in range(5) for chosen in combinations(KNOWN, n)]
        least = min(noise_of(each) for each in every if time_of(each) <= ratio * WHOLE)
        assert time_of(found) <= ratio * WHOLE
        assert noise_of(found) == least


def test_within_takes_the_solved_one_where_the_clock_agrees():
    clock = Clock()
    best, repairs = within(0.7, TABLE, clock)
    assert best.ratio <= 0.7
    assert best.floats == solved_floats(TABLE, 0.7)
    assert not repairs
    assert clock.made[0] == ()


def test_within_solves_again_where_the_clock_disagrees():
    clock = Clock(late=0.5)
    best, repairs = within(0.85, TABLE, clock)
    assert best.ratio <= 0.85
    assert best.figures.image_psnr_db > Clock()(()).figures.image_psnr_db
    assert any("solved again" in line for line in repairs)


def test_a_ratio_below_the_fastest_says_the_fastest():
    with pytest.raises(BadInput, match=f"{(time_of(()) / WHOLE):.3f} or more"):
        within(0.4, TABLE, Clock())
