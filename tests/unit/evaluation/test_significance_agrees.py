"""Our statistics beside scipy, statsmodels, and results printed by R packages: each function on several cases.

R's figures are those of the package contingencytables (Fagerland, Lydersen and Laake, "Statistical Analysis of
Contingency Tables", 2017), of DescTools and binom.test, and of multtest, as their own tests record them.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.contingency_tables import SquareTable, mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import NormalIndPower
from statsmodels.stats.proportion import proportion_confint

from rerankops.evaluation import significance

RNG = np.random.default_rng(20)
GRADED = {
    "reciprocal ranks": RNG.choice([0, 0.5, -0.5, 1 / 3, -1 / 6], 250, p=[0.4, 0.25, 0.15, 0.1, 0.1]),
    "gains": np.round(RNG.normal(0.03, 0.2, 150).clip(-1, 1), 4),
    "few": RNG.normal(0.1, 0.3, 25).clip(-1, 1),
}


MONTE_CARLO = 0.024
"""Four standard errors of the difference of two shares near .5, of 20,000 and of 10,000 random draws."""


def binary(won: int, lost: int, even: int) -> np.ndarray:
    return np.array([1.0] * won + [-1.0] * lost + [0.0] * even)


BINARY = {"won 30 of 300": binary(30, 12, 258), "even": binary(5, 5, 90), "lost": binary(2, 9, 41)}
EVERYTHING = {**GRADED, **BINARY}


# -- bootstrap -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", EVERYTHING)
@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_bootstrap_interval_and_scipys(name: str, confidence: float) -> None:
    values = EVERYTHING[name]
    theirs = stats.bootstrap(
        (values,), np.mean, method="percentile", n_resamples=20_000, confidence_level=confidence,
        rng=np.random.default_rng(2),
    ).confidence_interval  # fmt: skip
    # the Monte Carlo error of an end is a few hundredths of the interval's width
    close = 0.04 * (theirs.high - theirs.low) + 1 / len(values) * (name in BINARY)
    ours = significance.bootstrap_interval(values, confidence=confidence, samples=20_000, seed=1)
    assert ours == pytest.approx(tuple(theirs), abs=close)
    [together] = significance.bootstrap_intervals(values[:, None], confidence=confidence, samples=20_000, seed=3)
    assert together == pytest.approx(tuple(theirs), abs=close)


@pytest.mark.parametrize("name", EVERYTHING)
def test_bootstrap_lower_bound_and_scipys_one_sided_interval(name: str) -> None:
    values = EVERYTHING[name]
    theirs = stats.bootstrap(
        (values,), np.mean, method="percentile", n_resamples=20_000, confidence_level=0.95, alternative="greater",
        rng=np.random.default_rng(5),
    ).confidence_interval.low  # fmt: skip
    ours = significance.bootstrap_lower_bound(values, alpha=0.05, samples=20_000, seed=6)
    assert ours == pytest.approx(theirs, abs=0.05 * values.std() * 3.3 / math.sqrt(len(values)) + 1 / len(values) / 2)


# -- is it larger than zero? -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("won", "lost"), [(30, 12), (12, 30), (5, 5), (1, 0), (9, 1), (150, 120)])
def test_p_greater_of_right_or_wrong_and_statsmodels_mcnemar(won: int, lost: int) -> None:
    two_sided = mcnemar([[50, won], [lost, 20]], exact=True).pvalue
    ours = significance.p_greater(binary(won, lost, 70), samples=10, seed=0)
    other_way = significance.p_greater(binary(lost, won, 70), samples=10, seed=0)
    assert min(1.0, 2 * min(ours, other_way)) == pytest.approx(two_sided)


def test_p_greater_and_rs_exact_mcnemar_test_of_cavo_2012() -> None:
    """Complete response before and after consolidation therapy, 6 against 16 of 161: P = 0.052479, two-sided."""
    ours = significance.p_greater(binary(16, 6, 139), samples=10, seed=0)
    assert 2 * ours == pytest.approx(0.052479, abs=5e-7)


@pytest.mark.parametrize("name", GRADED)
@pytest.mark.parametrize("shift", [0.0, 0.01, -0.02])
def test_p_greater_of_graded_differences_and_scipys_permutation_test(name: str, shift: float) -> None:
    values = GRADED[name] - GRADED[name].mean() + shift
    theirs = stats.permutation_test(
        (values, np.zeros_like(values)), lambda a, b, axis: np.mean(a - b, axis=axis), permutation_type="samples",
        alternative="greater", n_resamples=10_000, rng=np.random.default_rng(4), vectorized=True,
    ).pvalue  # fmt: skip
    assert significance.p_greater(values, samples=20_000, seed=3) == pytest.approx(theirs, abs=MONTE_CARLO)
    [together] = significance.p_greater_each(values[:, None], samples=20_000, seed=7)
    assert together == pytest.approx(theirs, abs=MONTE_CARLO)


def test_p_greater_of_few_differences_is_every_sign_flip_counted() -> None:
    values = np.array([0.5, 0.25, -0.1, 0.3, 0.05, -0.2, 0.45])
    signs = np.array(np.meshgrid(*[[-1, 1]] * values.size)).reshape(values.size, -1)
    exact = np.mean(values @ signs >= values.sum() - 1e-12)
    assert significance.p_greater(values, samples=100_000, seed=1) == pytest.approx(exact, abs=0.004)


# -- non-inferiority -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "second", "n", "low", "high"),
    [
        (6, 16, 161, -0.1195, -0.0032),  # Cavo et al. (2012), as R's Wald_CI_BonettPrice_paired_2x2 prints it
        (16, 6, 161, 0.0032, 0.1195),
    ],
)
def test_non_inferiority_bound_and_rs_bonett_price_interval(
    first: int, second: int, n: int, low: float, high: float
) -> None:
    values = binary(first, second, n - first - second)
    # a two-sided 95 % interval has one-sided 97.5 % bounds
    assert significance.non_inferiority_lower_bound(values, alpha=0.025) == pytest.approx(low, abs=5e-5)
    assert -significance.non_inferiority_lower_bound(-values, alpha=0.025) == pytest.approx(high, abs=5e-5)
    # and the test agrees: at a margin that lies on the bound p is alpha
    assert significance.p_non_inferior(values, margin=-low) == pytest.approx(0.025, abs=2e-4)


@pytest.mark.parametrize(("won", "lost", "n"), [(8, 15, 200), (15, 8, 200), (0, 0, 40), (30, 12, 300), (3, 4, 60)])
def test_p_non_inferior_without_a_margin_and_statsmodels_bhapkar_test(won: int, lost: int, n: int) -> None:
    """Bhapkar's test of equal margins is the square of our z, on the table with one more win and one more loss."""
    table = np.array([[n - won - lost, won + 1], [lost + 1, 0]])
    statistic = SquareTable(table, shift_zeros=False).homogeneity(method="bhapkar").statistic
    z = math.copysign(math.sqrt(statistic), won - lost)
    ours = significance.p_non_inferior(binary(won, lost, n - won - lost), margin=0.0)
    assert ours == pytest.approx(stats.norm.sf(z))


@pytest.mark.parametrize("name", GRADED)
@pytest.mark.parametrize("margin", [0.0, 0.03])
def test_p_non_inferior_of_graded_differences_nears_scipys_t_test(name: str, margin: float) -> None:
    """The imagined win and loss vanish among many questions; then it is the one-sample test."""
    many = np.tile(GRADED[name] - GRADED[name].mean() - 0.025, 40)
    theirs = stats.ttest_1samp(many, -margin, alternative="greater").pvalue
    assert significance.p_non_inferior(many, margin=margin) == pytest.approx(theirs, abs=0.02)
    bound = stats.ttest_1samp(many, 0, alternative="greater").confidence_interval(0.95).low
    assert significance.non_inferiority_lower_bound(many, alpha=0.05) == pytest.approx(bound, abs=0.001)


# -- shares and several questions ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("successes", "n"), [(0, 10), (10, 10), (81, 263), (15, 148), (1, 29), (0, 20), (19, 38)])
@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_wilson_interval_and_statsmodels(successes: int, n: int, confidence: float) -> None:
    theirs = proportion_confint(successes, n, alpha=1 - confidence, method="wilson")
    assert significance.wilson_interval(successes, n, confidence=confidence) == pytest.approx(theirs, abs=1e-12)


@pytest.mark.parametrize(
    ("successes", "n", "published"),
    [
        (13, 16, (0.5699, 0.9341)),  # Ligarden et al. (2010), R's Wilson_score_CI_1x2
        (81, 263, (0.2553, 0.3662)),  # Newcombe (1998), table I, method 3
        (15, 148, (0.0624, 0.1605)),
        (0, 20, (0.0, 0.1611)),
        (1, 29, (0.0061, 0.1718)),
    ],
)
def test_wilson_interval_and_published_ones(successes: int, n: int, published: tuple[float, float]) -> None:
    assert significance.wilson_interval(successes, n) == pytest.approx(published, abs=5.1e-5)


MULTTEST = {
    0.838541367553: 1.0, 0.642193923795: 1.0, 0.680845947633: 1.0, 0.967833824309: 1.0, 0.71626938238: 1.0,
    0.177096952723: 1.0, 5.23656777208e-05: 5.23656777208e-04, 0.0202732688798: 0.1419128821586,
    0.00028140506198: 0.00253264555782, 0.0149877310796: 0.1199018486368,
}  # fmt: skip
"""p-values and what R's multtest (mt.rawp2adjp, "Holm") makes of them."""


def test_holm_and_rs_multtest() -> None:
    assert significance.holm(list(MULTTEST)) == pytest.approx(list(MULTTEST.values()))


@pytest.mark.parametrize("seed", range(4))
def test_holm_and_statsmodels(seed: int) -> None:
    p_values = np.random.default_rng(seed).beta(0.4, 2, 1 + 3 * seed)
    theirs = multipletests(p_values, method="holm")[1]
    assert significance.holm(p_values.tolist()) == pytest.approx(theirs.tolist())


# -- power -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", EVERYTHING)
@pytest.mark.parametrize(("alpha", "power"), [(0.05, 0.8), (0.01, 0.9)])
def test_detectable_difference_and_statsmodels_power(name: str, alpha: float, power: float) -> None:
    """statsmodels' one-sample z-test (ratio 0) of the values with one imagined win and loss."""
    padded = np.concatenate([EVERYTHING[name], [1.0, -1.0]])
    effect = NormalIndPower().solve_power(nobs1=padded.size, alpha=alpha, power=power, ratio=0, alternative="larger")
    ours = significance.detectable_difference(EVERYTHING[name], alpha=alpha, power=power)
    assert ours == pytest.approx(effect * padded.std(), rel=1e-4)


# -- many at once ----------------------------------------------------------------------------------------------------


def test_many_comparisons_at_once_are_the_same_as_one_by_one() -> None:
    rng = np.random.default_rng(9)
    columns = np.column_stack(
        [rng.normal(0.01, 0.2, 300), rng.choice([-1.0, 0.0, 1.0], 300, p=[0.05, 0.85, 0.1]), rng.normal(0, 0.1, 300)]
    )
    columns[rng.random(300) < 0.2, 2] = math.nan
    columns = np.column_stack([columns, np.full(300, math.nan)])
    together = significance.bootstrap_intervals(columns, samples=20_000, seed=1)
    p_values = significance.p_greater_each(columns, samples=20_000, seed=1)
    for column in range(3):
        alone = significance.bootstrap_interval(columns[:, column], samples=20_000, seed=2)
        assert together[column] == pytest.approx(alone, abs=0.002)
        p = significance.p_greater(columns[:, column], samples=20_000, seed=2)
        assert p_values[column] == pytest.approx(p, abs=MONTE_CARLO)
    assert p_values[1] == significance.p_greater(columns[:, 1], samples=5, seed=0), "right or wrong is exact"
    assert math.isnan(together[3][0])
    assert p_values[3] == 1.0
