"""Statistics of few runs, against published numbers, against rliable 1.2.0 and against SciPy."""

import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import mannwhitneyu, trim_mean

from rpp_rl.experiments import statistics

IRIS = Path(__file__).parent / "data" / "atari_100k_iris.csv"
X = [np.array([1, 2, 1, 2]), np.array([2, 2, 1, 1])]
Y = [np.array([1, 2, 3]), np.array([1, 2, 3])]
"""The matrices of the tests of rliable itself, a column for each task."""

scores = arrays(float, st.integers(1, 12), elements=st.integers(-5, 5).map(float))


@pytest.fixture(scope="module")
def iris():
    """Human-normalised scores of 5 runs on 26 games, published with Micheli et al., arXiv:2209.00588."""
    with IRIS.open() as file:
        games = list(csv.DictReader(file))
    return [
        np.array(
            [(float(g[f"run_{k}"]) - float(g["random"])) / (float(g["human"]) - float(g["random"])) for k in range(5)]
        )
        for g in games
    ]


def test_aggregates_have_the_values_that_rliable_tests_itself_with():
    assert statistics.mean(X) == statistics.median(X) == statistics.iqm(X) == 1.5
    assert statistics.mean(Y) == statistics.median(Y) == statistics.iqm(Y) == 2
    assert statistics.probability_of_improvement(X, Y) == pytest.approx(1 / 3)


def test_aggregates_have_the_published_values(iris):
    """Table 1 of the paper, computed there with rliable: mean 1.046, median 0.289, IQM 0.501, optimality gap 0.512."""
    found = [float(f(iris)) for f in (statistics.mean, statistics.median, statistics.iqm, statistics.optimality_gap)]
    assert found == pytest.approx([1.046, 0.289, 0.501, 0.512], abs=5e-4)


@pytest.mark.parametrize(
    ("aggregate", "low", "high"), [("mean", 0.9653, 1.1273), ("median", 0.2495, 0.4149), ("iqm", 0.4415, 0.5646)]
)
def test_intervals_are_those_of_rliable(iris, aggregate, low, high):
    """Percentile intervals that rliable 1.2.0 gives for the same scores with 50000 resamples."""
    found = statistics.interval(iris, statistics.AGGREGATES[aggregate], n_resamples=20_000)
    width = high - low
    assert found == (pytest.approx(low, abs=0.03 * width), pytest.approx(high, abs=0.03 * width))


def test_resampling_over_tasks_together_would_give_another_interval(iris):
    """Negative control: the strata matter."""
    pooled = [np.concatenate(iris)]
    low, high = statistics.interval(pooled, statistics.mean, n_resamples=5000)
    assert high - low > 1.5 * (1.1273 - 0.9653)


@given(st.lists(scores, min_size=1, max_size=4))
def test_the_interquartile_mean_is_the_trimmed_mean(tasks):
    assert float(statistics.iqm(tasks)) == pytest.approx(float(trim_mean(np.concatenate(tasks), 0.25)))


@given(scores, scores)
def test_the_probability_of_improvement_is_that_of_mann_and_whitney(ours, theirs):
    expected = mannwhitneyu(ours, theirs, method="asymptotic").statistic / (len(ours) * len(theirs))
    assert statistics.probability_of_improvement([ours], [theirs]) == pytest.approx(expected)
    assert statistics.probability_of_improvement([theirs], [ours]) == pytest.approx(1 - expected)


@given(scores, st.sampled_from(sorted(statistics.AGGREGATES)))
def test_an_interval_lies_within_the_scores_and_keeps_further_axes(values, name):
    aggregate = statistics.AGGREGATES[name]
    low, high = statistics.interval([values], aggregate, n_resamples=50)
    assert values.min() - 1e-9 <= low <= high <= values.max() + 1e-9
    both = np.stack([values, 2 * values], axis=1)
    np.testing.assert_allclose(
        statistics.interval([both], aggregate, n_resamples=50), [[low, 2 * low], [high, 2 * high]]
    )


def test_an_interval_covers_the_mean_about_as_often_as_it_says(rng):
    covered = 0
    for _ in range(300):
        low, high = statistics.interval([rng.normal(size=20)], statistics.mean, n_resamples=300)
        covered += low <= 0 <= high
    assert 0.88 < covered / 300 < 0.98


def test_a_profile_is_the_share_of_runs_above(iris):
    """Values of rliable 1.2.0's score distributions for the same scores."""
    thresholds = np.array([0.0, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0])
    share, low, high = statistics.performance_profile(iris, thresholds)
    pooled = np.concatenate(iris)
    np.testing.assert_allclose(share, [(pooled > threshold).mean() for threshold in thresholds])
    assert (low <= share).all()
    assert (share <= high).all()


def test_area_and_arrival():
    steps, values = np.array([0, 10, 30]), np.array([[0.0, 10.0, 10.0], [0.0, 0.0, 4.0]])
    assert statistics.area_under_curve(steps, values).tolist() == [250 / 30, 40 / 30]
    assert statistics.steps_to(4.0, steps, values).tolist() == [10, 30]
    assert statistics.steps_to(5.0, steps, values).tolist() == [10, np.inf]


def test_an_interval_of_arrivals_may_be_infinite():
    low, high = statistics.interval([np.array([10.0, 20.0, np.inf])], statistics.median, n_resamples=200)
    assert (low, high) == (10, np.inf)
