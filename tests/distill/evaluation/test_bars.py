"""The bars of the bundled generator: each fails alone, and NaN fails all that it touches."""

import dataclasses

import pytest

from edgestep.artifact import BadInput
from edgestep.distill.evaluation.bars import Names, bars_of, bars_table
from edgestep.distill.evaluation.measures import Estimate, Row


def row(name: str, frechet: float, top5: float = 0.9, diversity: float = 1.0, seconds: float = 1.0) -> Row:
    def exactly(value: float) -> Estimate:
        return Estimate(value, value, value)

    return Row(
        name,
        frechet=exactly(frechet),
        kernel=exactly(0),
        precision=exactly(1),
        recall=exactly(1),
        top1=exactly(0.5),
        top5=exactly(top5),
        diversity=exactly(diversity),
        seconds={"total": seconds},
    )


GOOD = {
    "teacher": row("teacher, 50 steps", 2.0, 0.8, 1.0, 5.0),
    "teacher_one": row("teacher, 1 step", 12.5),
    "regression": row("regression only, 1 step", 2.6),
    "student": row("student, 1 step", 2.5, 0.78, 0.85, 0.09),
}


def failing(**changed: Row) -> list[int]:
    return [i for i, bar in enumerate(bars_of(list((GOOD | changed).values()))) if not bar.holds]


def test_what_reaches_every_bar_passes_and_each_bar_fails_alone():
    student = GOOD["student"]
    assert failing() == []
    assert failing(teacher=row("teacher, 50 steps", 2.0, 0.59, 1.0, 5.0)) == [0]
    assert failing(student=dataclasses.replace(student, top5=Estimate(0.75, 0.7, 0.8))) == [1]
    assert failing(student=dataclasses.replace(student, frechet=Estimate(1.9, 1.8, 2.0))) == [2]
    assert failing(teacher=row("teacher, 50 steps", 1.6, 0.8, 1.0, 5.0)) == [3]
    assert failing(regression=row("regression only, 1 step", 2.5)) == [4]
    assert failing(teacher_one=row("teacher, 1 step", 12.4)) == [5]
    assert failing(student=dataclasses.replace(student, diversity=Estimate(0.79, 0.7, 0.9))) == [6]
    assert failing(student=dataclasses.replace(student, seconds={"total": 0.11})) == [7]


def test_nan_reaches_nothing():
    nan = float("nan")
    assert failing(student=row("student, 1 step", nan, nan, nan, nan)) == [1, 2, 3, 4, 5, 6, 7]
    assert failing(student=dataclasses.replace(GOOD["student"], diversity=None, seconds=None)) == [6, 7]


def test_rows_are_found_by_name():
    with pytest.raises(BadInput, match="got no row 'student, 1 step'"):
        bars_of([row for name, row in GOOD.items() if name != "student"])
    bars = bars_of(list(GOOD.values()), Names(student="regression only, 1 step"))
    assert [bar.holds for bar in bars][4] is False
    table = bars_table(bars)
    assert "| ≥ 0.95 |" in table
    assert table.count("\n") == 9
