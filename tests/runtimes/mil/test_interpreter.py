"""How a program is run: numerics, the first overflow, values from inside it, and what is computed only once."""

import numpy as np
import pytest
from coremltools.converters.mil.mil import Builder as mb

from edgestep.runtimes.mil.numerics import Overflow
from edgestep.runtimes.mil_evaluator import MilEvaluator
from tests.runtimes.mil.built import IOS15, evaluated_program, same, save_built

X = np.array([1.0, 3.0, 300.0], np.float32)


def _halves(x):
    """Square and take the root again, in float16: 300 is more than a float16 holds on the way."""
    half = mb.cast(x=x, dtype="fp16", name="half")
    squared = mb.square(x=half, name="squared")
    return mb.sqrt(x=mb.mul(x=squared, y=np.float16(2), name="doubled"), name="root")


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    path = tmp_path_factory.mktemp("halves") / "halves.mlpackage"
    save_built(path, {"x": X}, _halves, IOS15)
    return path


def test_exact_numbers_overflow_nowhere(package):
    with MilEvaluator(package, numerics="fp32") as session:
        (got,) = session.run({"x": X}).values()
        assert session.overflow is None
    same(got, X * np.sqrt(2), rtol=1e-6)


def test_half_numbers_name_the_first_overflow_and_how_many_values_it_took(package):
    with MilEvaluator(package, numerics="fp16") as session:
        (got,) = session.run({"x": X}).values()
        assert session.overflow == Overflow("square", "squared", 1)
        with np.errstate(over="ignore"):
            same(got, np.sqrt(X.astype(np.float16) ** 2 * np.float16(2)))
        session.run({"x": X[:3] / 300})
        assert session.overflow is None


def test_an_infinity_that_is_fed_is_no_overflow(package):
    with MilEvaluator(package, numerics="fp16") as session:
        session.run({"x": np.array([np.inf, 1, 1], np.float32)})
        assert session.overflow is None


def test_values_from_inside_are_those_that_numpy_computes(package):
    with MilEvaluator(package, numerics="fp32") as session:
        values = session.values({"x": X}, ["squared", "doubled", "x"])
    same(values["squared"].numpy(), X**2)
    same(values["doubled"].numpy(), X**2 * 2)
    same(values["x"].numpy(), X)


def test_every_operation_is_rounded_in_half_numbers():
    x = np.array([0.1, 1 / 3, 2049.0], np.float32)

    def build(x):
        return mb.sub(x=mb.mul(x=mb.cast(x=x, dtype="fp16"), y=np.float16(3)), y=np.float16(1))

    (got,) = evaluated_program({"x": x}, build, numerics="fp16")
    want = x.astype(np.float16) * np.float16(3) - np.float16(1)  # numpy rounds after each as well
    assert got.dtype == np.float16 and (got == want).all()
    (exact,) = evaluated_program({"x": x}, build, numerics="fp32")
    same(exact, (x * 3 - 1).astype(np.float16))


def test_sums_inside_an_operation_are_not_rounded_in_half_numbers():
    rng = np.random.default_rng(0)
    x, weight = (rng.standard_normal(shape).astype(np.float16) for shape in ((4, 512), (8, 512)))
    (got,) = evaluated_program({"x": x}, lambda x: mb.linear(x=x, weight=weight), numerics="fp16")
    same(got, (x.astype(np.float64) @ weight.T.astype(np.float64)).astype(np.float16), rtol=1e-3)


def test_what_constants_alone_decide_is_computed_once(tmp_path):
    table = np.arange(64, dtype=np.float32)

    def build(x):
        return mb.add(x=x, y=mb.exp(x=mb.cos(x=table, name="inner"), name="outer"))

    save_built(tmp_path / "p.mlpackage", {"x": np.zeros(64, np.float32)}, build, IOS15)
    with MilEvaluator(tmp_path / "p.mlpackage", numerics="fp32") as session:
        assert [operation.type for operation in session.interpreter.operations] == ["add", "identity"]
        (got,) = session.run({"x": np.zeros(64, np.float32)}).values()
    same(got, np.exp(np.cos(table)))


def test_random_numbers_are_not_computed_once(tmp_path):
    def build(x):
        return mb.add(x=x, y=mb.random_normal(shape=np.array([64], np.int32), seed=-1))

    save_built(tmp_path / "p.mlpackage", {"x": np.zeros(64, np.float32)}, build, IOS15)
    with MilEvaluator(tmp_path / "p.mlpackage") as session:
        first, second = (next(iter(session.run({"x": np.zeros(64, np.float32)}).values())) for _ in range(2))
    assert (first != second).all()


def test_a_run_changes_neither_feeds_nor_constants():
    x = np.array([-1.0, 2.0], np.float32)
    before = x.copy()
    first = evaluated_program({"x": x}, lambda x: [mb.relu(x=x), mb.identity(x=x)])
    assert (x == before).all()
    same(first[1], before)
