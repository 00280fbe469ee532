"""What the bundled generator has to reach, and whether a table of measures says that it does."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edgestep.artifact import BadInput
from edgestep.distill.evaluation.measures import Row


@dataclass(frozen=True)
class Names:
    """The rows that the bars speak of."""

    teacher: str = "teacher, 50 steps"
    teacher_one: str = "teacher, 1 step"
    regression: str = "regression only, 1 step"
    student: str = "student, 1 step"


@dataclass(frozen=True)
class Bar:
    """A measure, the least or the most that it may be, what it is, and whether that holds."""

    measure: str
    bar: str
    value: float
    holds: bool


def bars_of(rows: Sequence[Row], names: Names | None = None) -> list[Bar]:
    """Return every bar against the rows. Written so that NaN fails."""
    names = names or Names()
    by_name = {row.name: row for row in rows}
    teacher, one, regression, student = (
        _row(by_name, name) for name in (names.teacher, names.teacher_one, names.regression, names.student)
    )
    best, drawn = teacher.frechet.value, student.frechet.value
    return [
        _at_least("teacher's top-5 concept accuracy", 0.60, teacher.top5.value),
        _at_least("student's top-5 / the teacher's", 0.95, _ratio(student.top5.value, teacher.top5.value)),
        _at_least("student's Fréchet distance / the teacher's", 1.0, _ratio(drawn, best)),
        _at_most("student's Fréchet distance / the teacher's", 1.5, _ratio(drawn, best)),
        _above("regression's Fréchet distance / the student's", 1.0, _ratio(regression.frechet.value, drawn)),
        _at_least("teacher's in 1 step / the student's", 5.0, _ratio(one.frechet.value, drawn)),
        _at_least("diversity / the teacher's", 0.80, student.diversity.value if student.diversity else float("nan")),
        _at_least("times faster than the teacher", 50.0, _ratio(_total(teacher), _total(student))),
    ]


def _row(by_name: Mapping[str, Row], name: str) -> Row:
    if name not in by_name:
        raise BadInput(f"got no row {name!r} among {', '.join(by_name)}; expected it; draw with that way too")
    return by_name[name]


def _total(row: Row) -> float:
    return row.seconds["total"] if row.seconds else float("nan")


def _ratio(value: float, of: float) -> float:
    return value / of if of else float("nan")


def _at_least(measure: str, bar: float, value: float) -> Bar:
    return Bar(measure, f"≥ {bar:g}", value, value >= bar)


def _above(measure: str, bar: float, value: float) -> Bar:
    return Bar(measure, f"> {bar:g}", value, value > bar)


def _at_most(measure: str, bar: float, value: float) -> Bar:
    return Bar(measure, f"≤ {bar:g}", value, value <= bar)


def bars_table(bars: Sequence[Bar]) -> str:
    """Return the bars as Markdown."""
    lines = ["| measure | bar | reached | |", "| --- | --- | ---: | --- |"]
    return "\n".join(
        [*lines, *(f"| {b.measure} | {b.bar} | {b.value:.3f} | {'yes' if b.holds else 'no'} |" for b in bars)]
    )
