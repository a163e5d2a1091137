"""Our statistics against scipy's, published examples, and their own promises."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from rerankops.evaluation import significance


def binary(won: int, lost: int, even: int) -> np.ndarray:
    return np.array([1.0] * won + [-1.0] * lost + [0.0] * even)


GRADED = np.random.default_rng(0).choice([0, 0.5, -0.5, 1 / 3, -1 / 6], 250, p=[0.4, 0.25, 0.15, 0.1, 0.1])


@pytest.mark.parametrize("values", [binary(30, 12, 258), binary(5, 5, 90), binary(0, 9, 41), GRADED], ids=str)
def test_the_bootstrap_interval_is_scipys(values: np.ndarray) -> None:
    ours = significance.bootstrap_interval(values, samples=20_000, seed=1)
    theirs = stats.bootstrap(
        (values,), np.mean, method="percentile", n_resamples=20_000, rng=np.random.default_rng(2)
    ).confidence_interval
    assert ours == pytest.approx(tuple(theirs), abs=0.004)


@pytest.mark.parametrize(("won", "lost"), [(30, 12), (12, 30), (5, 5), (1, 0), (0, 4), (9, 1)])
def test_binary_differences_get_the_exact_mcnemar_test(won: int, lost: int) -> None:
    expected = stats.binom.sf(won - 1, won + lost, 0.5)
    assert significance.p_greater(binary(won, lost, 50), samples=10, seed=0) == pytest.approx(expected)


@pytest.mark.parametrize("shift", [0.0, 0.02, 0.05, -0.05])
def test_graded_differences_get_scipys_permutation_test(shift: float) -> None:
    values = GRADED - GRADED.mean() + shift
    ours = significance.p_greater(values, samples=20_000, seed=3)
    theirs = stats.permutation_test(
        (values, np.zeros_like(values)), lambda a, b, axis: np.mean(a - b, axis=axis), permutation_type="samples",
        alternative="greater", n_resamples=5_000, rng=np.random.default_rng(4), vectorized=True,
    ).pvalue  # fmt: skip
    assert ours == pytest.approx(theirs, abs=0.02)


@pytest.mark.parametrize(("successes", "n"), [(0, 10), (10, 10), (81, 263), (15, 148), (1, 29)])
def test_wilsons_interval_is_scipys(successes: int, n: int) -> None:
    expected = stats.binomtest(successes, n).proportion_ci(method="wilson")
    assert significance.wilson_interval(successes, n) == pytest.approx(tuple(expected))


def test_wilsons_interval_of_newcombes_example() -> None:
    """81 of 263, Newcombe (1998), method 3: 0.2553 to 0.3662."""
    assert significance.wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)


def test_the_non_inferiority_bound_is_bonett_and_prices() -> None:
    """(b + 1 - c - 1) / (n + 2) - z sqrt(((b + 1 + c + 1)/(n + 2) - d^2) / (n + 2))."""
    b, c, n = 8, 15, 200
    difference = (b - c) / (n + 2)
    error = math.sqrt(((b + c + 2) / (n + 2) - difference**2) / (n + 2))
    bound = significance.non_inferiority_lower_bound(binary(b, c, n - b - c), alpha=0.05)
    assert bound == pytest.approx(difference - 1.6448536 * error, abs=1e-6)


@pytest.mark.parametrize("values", [binary(8, 15, 177), binary(0, 0, 40), GRADED])
@pytest.mark.parametrize("margin", [0.0, 0.01, 0.03, 0.1])
def test_the_non_inferiority_test_and_bound_agree(values: np.ndarray, margin: float) -> None:
    bound = significance.non_inferiority_lower_bound(values, alpha=0.05)
    assert (significance.p_non_inferior(values, margin=margin) < 0.05) == (bound > -margin)


def test_twenty_even_questions_do_not_prove_equality() -> None:
    assert significance.non_inferiority_lower_bound(binary(0, 0, 20), alpha=0.05) < -0.05


def test_the_one_sided_bound_holds_its_level() -> None:
    rng = np.random.default_rng(8)
    truth = 0.04
    covered = [
        significance.bootstrap_lower_bound(
            rng.choice([1.0, -1.0, 0.0], 300, p=[0.1, 0.06, 0.84]), alpha=0.05, samples=400, seed=i
        )
        <= truth
        for i in range(500)
    ]
    assert np.mean(covered) == pytest.approx(0.95, abs=0.03)


def test_holm_of_a_worked_example() -> None:
    assert significance.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert significance.holm([]) == []
    assert significance.holm([math.nan, 0.01]) == pytest.approx([1.0, 0.02])


def test_a_detectable_difference_shrinks_with_more_questions() -> None:
    few, many = (
        significance.detectable_difference(binary(5 * k, 5 * k, 90 * k), alpha=0.05, power=0.8) for k in (1, 16)
    )
    assert few > 3.5 * many
    assert many == pytest.approx(2.486 * math.sqrt(0.1 / 1600), rel=0.02)


def test_the_same_seed_gives_the_same_answer() -> None:
    once, again = (significance.bootstrap_interval(GRADED, samples=500, seed=9) for _ in range(2))
    assert once == again
    assert significance.p_greater(GRADED, samples=500, seed=9) == significance.p_greater(GRADED, samples=500, seed=9)


@pytest.mark.parametrize("values", [[], [math.nan, math.nan]])
def test_no_questions_prove_nothing(values: list[float]) -> None:
    assert math.isnan(significance.bootstrap_interval(values, samples=10, seed=0)[0])
    assert math.isnan(significance.non_inferiority_lower_bound(values, alpha=0.05))
    assert math.isnan(significance.detectable_difference(values, alpha=0.05, power=0.8))
    assert significance.p_greater(values, samples=10, seed=0) == 1.0
    assert significance.p_non_inferior(values, margin=0.5) == 1.0
    assert math.isnan(significance.wilson_interval(0, 0)[0])
