"""The picture strip: which cases, in which order, and that any picture and prompt can be drawn."""

from types import SimpleNamespace

import numpy as np
import pytest

from edgestep.harness.parity.check import CheckedPictures
from edgestep.harness.reporting.strip import strip_from_parity, worst_cases
from edgestep.harness.results import GateResult, ParityResult


def _checked(side: int, errors: list[int], named: str = "", prompt: str = "a red heart"):
    """Grey references, and pictures that are as many levels brighter as `errors` say."""
    cases = [
        SimpleNamespace(name=f"case-{i}", prompt=prompt, picture=np.full((1, side, side, 3), 100, np.uint8))
        for i in range(len(errors))
    ]
    pictures = tuple(np.full((side, side, 3), 100 + error, np.uint8) for error in errors)
    gates = (GateResult("prompt_sensitivity", 0.5, "0.9 .. 1.1", named, False),) if named else ()
    return SimpleNamespace(cases=cases), CheckedPictures(ParityResult("failed", gates), pictures)


@pytest.mark.parametrize(
    ("named", "most", "expected"),
    [("", 3, [3, 1, 4]), ("case-0/case-2", 3, [3, 2, 0]), ("case-0/case-2", 2, [2, 0]), ("", 9, [3, 1, 4, 2, 0])],
)
def test_the_worst_first_and_those_that_a_gate_names_before_others(named, most, expected):
    reference, checked = _checked(16, [0, 8, 1, 9, 4], named)
    assert worst_cases(reference, checked, most) == expected  # pyright: ignore


@pytest.mark.parametrize(("side", "shown"), [(16, 192), (64, 192), (192, 192), (512, 171), (100, 100)])
@pytest.mark.parametrize("prompt", ["a red heart", "ein grünes Herz 💚", "x" * 400])
def test_pictures_of_any_size_stand_beside_their_difference(side, shown, prompt):
    reference, checked = _checked(side, [7], prompt=prompt)
    strip = strip_from_parity(reference, checked, "title")  # pyright: ignore
    top = 2 * 20 + 8 + 20
    assert strip.dtype == np.uint8 and strip.shape[0] == top + shown + 8
    for column, level in enumerate((100, 107, 70)):
        left = 8 + column * (shown + 8)
        assert np.all(strip[top : top + shown, left : left + shown] == level)
