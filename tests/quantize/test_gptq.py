"""GPTQ against rounding to nearest and, for few columns, against every rounding there is."""

import itertools

import numpy as np

from edgestep.quantize.gptq import Moments, damped, gptq
from edgestep.quantize.rounding import rounded


def fed(rows: np.ndarray, targets: np.ndarray | None = None) -> Moments:
    targets = rows if targets is None else targets
    return Moments(rows.T @ rows / len(rows), (targets - rows).T @ rows / len(rows))


def alike(random: np.random.Generator, rows: int, columns: int) -> np.ndarray:
    """Rows whose columns go together, as pixels that are neighbours do."""
    return random.standard_normal((rows, 4)) @ random.standard_normal((4, columns)) + 0.2 * random.standard_normal(
        (rows, columns)
    )


def test_outputs_err_less_than_rounded_to_nearest_on_rows_not_seen():
    random = np.random.default_rng(0)
    mixing = random.standard_normal((4, 64))
    rows, others = (
        random.standard_normal((n, 4)) @ mixing + 0.2 * random.standard_normal((n, 64)) for n in (1000, 500)
    )
    weights = random.standard_normal((16, 64)).astype(np.float32)
    errors = {
        name: np.sum((others @ (made.values - weights).T) ** 2)
        for name, made in (("gptq", gptq(weights, fed(rows), 4, 32)), ("nearest", rounded(weights, 4, 32)))
    }
    assert errors["gptq"] < 0.25 * errors["nearest"]


def test_is_near_the_best_of_all_roundings_of_six_columns():
    random = np.random.default_rng(3)
    moments = fed(alike(random, 300, 6))
    weights = random.standard_normal((1, 6)).astype(np.float32)
    made = gptq(weights, moments, 2, 6)
    hessian = damped(moments.hessian)

    def loss(values: np.ndarray) -> float:
        return float((values - weights[0]) @ hessian @ (values - weights[0]))

    every = [loss(made.scales[0, 0] * np.array(q)) for q in itertools.product(range(-2, 2), repeat=6)]
    assert loss(made.values[0]) <= sorted(every)[len(every) // 100]


def test_takes_back_what_the_layers_in_front_did():
    random = np.random.default_rng(5)
    targets = random.standard_normal((2000, 48))
    rows = 0.8 * targets + 0.05 * random.standard_normal((2000, 48))  # what is in front lost a fifth
    weights = random.standard_normal((8, 48)).astype(np.float32)
    wanted = targets @ weights.T
    errors = [
        np.sum((rows @ gptq(weights, moments, 6, 48).values.T - wanted) ** 2)
        for moments in (fed(rows, targets), fed(rows))
    ]
    assert errors[0] < 0.5 * errors[1]


def test_columns_that_are_never_fed_are_rounded_to_nearest():
    random = np.random.default_rng(7)
    rows = alike(random, 200, 32)
    rows[:, 16:] = 0
    weights = random.standard_normal((4, 32)).astype(np.float32)
    made = gptq(weights, fed(rows), 4, 16)
    assert np.isfinite(made.values).all()
    assert np.array_equal(made.values[:, 16:], rounded(weights[:, 16:], 4, 16).values)


def test_the_same_on_any_number_of_threads():
    from threadpoolctl import threadpool_limits

    random = np.random.default_rng(11)
    moments = fed(alike(random, 2000, 600))
    weights = random.standard_normal((96, 600)).astype(np.float32)
    made = []
    for threads in (1, 2, 3):
        with threadpool_limits(limits=threads, user_api="blas"):
            made.append(gptq(weights, moments, 4, 60))
    assert all(np.array_equal(made[0].integers, each.integers) for each in made[1:])
    assert all(np.array_equal(made[0].scales, each.scales) for each in made[1:])
