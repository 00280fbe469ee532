"""Every measure against a closed form or a plain computation of its definition."""

import numpy as np
import pytest
from scipy import linalg, stats

from edgestep.distill.evaluation.accuracy import hits, ranks_of
from edgestep.distill.evaluation.bootstrap import interval, resamples
from edgestep.distill.evaluation.diversity import diversity_ratio, spread_of_prompts
from edgestep.distill.evaluation.frechet import frechet_between, frechet_distance, gaussian
from edgestep.distill.evaluation.kid import kernel_distance
from edgestep.distill.evaluation.precision_recall import precision_recall


def features(count: int, size: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(count, size)) @ rng.normal(size=(size, size)) + rng.normal(size=size)).astype(np.float32)


def test_frechet_between_diagonal_gaussians_is_the_closed_form():
    m1, m2 = np.array([0.0, 1.0, 2.0]), np.array([1.0, 1.0, -1.0])
    v1, v2 = np.array([1.0, 4.0, 0.0]), np.array([9.0, 0.25, 2.0])
    wanted = np.square(m1 - m2).sum() + np.square(np.sqrt(v1) - np.sqrt(v2)).sum()
    assert frechet_between(m1, np.diag(v1), m2, np.diag(v2)) == pytest.approx(wanted, rel=1e-9)


def test_frechet_distance_is_that_of_scipys_matrix_root():
    first, second = features(300, 7, 0), features(200, 7, 1)
    m1, m2 = first.mean(0, dtype=np.float64), second.mean(0, dtype=np.float64)
    s1, s2 = np.cov(first.astype(np.float64).T), np.cov(second.astype(np.float64).T)
    wanted = np.square(m1 - m2).sum() + np.trace(s1 + s2 - 2 * linalg.sqrtm(s1 @ s2).real)
    assert frechet_distance(first, second) == pytest.approx(wanted, rel=1e-8)
    assert frechet_distance(first, first) == pytest.approx(0, abs=1e-8)


def test_counts_stand_for_copies():
    first, second = features(40, 5, 2), features(30, 5, 3)
    counts = resamples(40, 0, 1)[0], resamples(30, 1, 1)[0]
    copies = [np.repeat(rows, count.astype(int), 0) for rows, count in zip((first, second), counts, strict=True)]
    assert frechet_distance(first, second, counts) == pytest.approx(frechet_distance(*copies), rel=1e-8)
    mean, covariance = gaussian(first, counts[0])
    np.testing.assert_allclose(mean, copies[0].mean(0), rtol=1e-4)
    np.testing.assert_allclose(covariance, np.cov(copies[0].astype(np.float64).T), rtol=1e-6)


def kernel(x: np.ndarray, y: np.ndarray) -> float:
    return (float(x.astype(float) @ y.astype(float)) / len(x) + 1) ** 3


def u_statistic(first: np.ndarray, second: np.ndarray, ids: tuple[list[int], list[int]]) -> float:
    """Means of k over all pairs of different pictures, by their ids."""

    def within(rows, own):
        pairs = [(a, b) for a in range(len(rows)) for b in range(len(rows)) if own[a] != own[b]]
        return np.mean([kernel(rows[a], rows[b]) for a, b in pairs])

    return within(first, ids[0]) + within(second, ids[1]) - 2 * np.mean([[kernel(a, b) for b in second] for a in first])


def test_kernel_distance_is_the_u_statistic(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("edgestep.distill.evaluation.kid.BLOCK", 8)
    first, second = features(20, 4, 4), features(15, 4, 5)
    wanted = u_statistic(first, second, (list(range(20)), list(range(15))))
    assert float(kernel_distance(first, second)) == pytest.approx(wanted, rel=1e-9)
    counts = resamples(20, 0, 3), resamples(15, 1, 3)
    again = kernel_distance(first, second, counts)
    for i in range(3):
        ids = [np.repeat(np.arange(len(c[i])), c[i].astype(int)).tolist() for c in counts]
        assert again[i] == pytest.approx(u_statistic(first[ids[0]], second[ids[1]], (ids[0], ids[1])), rel=1e-9)


def test_kernel_distance_of_one_distribution_is_unbiased():
    rng = np.random.default_rng(0)
    values = [float(kernel_distance(*rng.normal(size=(2, 30, 3)))) for _ in range(300)]
    assert abs(np.mean(values)) < 3 * np.std(values) / np.sqrt(len(values))
    assert np.mean([float(kernel_distance(x, x + 1)) for x in rng.normal(size=(20, 30, 3))]) > 0.5


@pytest.mark.parametrize("k", [1, 3])
def test_precision_and_recall_are_their_definitions(k: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("edgestep.distill.evaluation.precision_recall.BLOCK", 16)
    real, drawn = features(40, 3, 6), features(50, 3, 7)

    def inside(queries, centres):
        found = []
        for query in queries:
            reached = False
            for i, centre in enumerate(centres):
                others = np.sort(np.linalg.norm(np.delete(centres, i, 0) - centre, axis=1))
                reached |= bool(np.linalg.norm(query - centre) <= others[k - 1])
            found.append(reached)
        return np.array(found)

    precise, recalled = precision_recall(real, drawn, k)
    np.testing.assert_array_equal(precise, inside(drawn, real))
    np.testing.assert_array_equal(recalled, inside(real, drawn))


def test_one_picture_again_and_again_is_precise_and_recalls_nothing():
    real = features(50, 3, 8)
    precise, recalled = precision_recall(real, np.repeat(real[:1], 20, 0))
    assert precise.all()
    assert recalled.mean() <= 1 / 50


def test_spread_of_gaussian_seeds_is_the_closed_form():
    # |x - y| of two standard normal vectors of D numbers: sqrt(2) times a chi variable of D degrees
    size = 6
    drawn = np.random.default_rng(0).normal(size=(200, 16, size))
    assert spread_of_prompts(drawn).mean() == pytest.approx(np.sqrt(2) * stats.chi(size).mean(), rel=0.02)
    halves = spread_of_prompts(drawn), spread_of_prompts(drawn / 2)
    assert diversity_ratio(halves[1], halves[0]) == pytest.approx(0.5)
    np.testing.assert_allclose(diversity_ratio(halves[1], halves[0], resamples(200, 0, 4)), 0.5)


def test_ranks_count_the_likelier_concepts():
    logits = np.array([[3.0, 2.0, 1.0, 0.0], [0.0, 1.0, 2.0, 3.0], [1.0, 1.0, 1.0, 1.0], [np.nan] * 4])
    ranks = ranks_of(logits, np.array([0, 1, 2, 3]))
    assert ranks.tolist() == [0, 2, 3, 3]
    assert hits(ranks, 1).tolist() == [True, False, False, False]
    assert hits(ranks, 3).tolist() == [True, True, False, False]


def test_interval_of_a_mean_is_the_normal_one():
    rows = np.random.default_rng(0).normal(3, 2, 400)
    counts = resamples(400, 1, 4000)
    assert (counts.sum(1) == 400).all()
    low, high = interval(counts @ rows / 400)
    error = 1.96 * rows.std() / np.sqrt(400)
    assert (low, high) == pytest.approx((rows.mean() - error, rows.mean() + error), abs=0.03)
    moved = interval(counts @ rows / 400, around=10.0)
    assert (moved[0] + moved[1]) / 2 == pytest.approx(10, abs=0.02)
    narrow = interval(counts @ rows / 400, level=0.5)
    assert low < narrow[0] < narrow[1] < high
