"""How sure a difference between two systems on the same questions is.

All tests are paired: they see one array, `differences` = metric of the one system minus metric of the other, a number
in [-1, 1] a question. Pure: arrays in, numbers out; what is random takes a seed and repeats exactly.

| question                               | answer                                                             |
|----------------------------------------|--------------------------------------------------------------------|
| how large is the difference?           | `bootstrap_interval`                                               |
| is it larger than zero?                | `p_greater`, `bootstrap_lower_bound`                               |
| the same, without random draws         | `p_better`: mid-p McNemar, or the saddlepoint of the sign flips    |
| is it surely not below -margin?        | `non_inferiority_lower_bound`, `p_non_inferior`                    |
| how sure is one share?                 | `wilson_interval`                                                  |
| how small a difference would show?     | `detectable_difference`; a loss, by `p_better`: `noticeable_loss`  |
| several questions asked at once        | `holm`                                                             |
| many differences on the same questions | `bootstrap_intervals`, `p_greater_each`: one set of resamples      |
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special  # scipy.stats has the same distributions and takes seconds to import

from rerankops.intervals import wilson

Floats = NDArray[np.float64]

_CHUNK = 2_000_000
"""Random numbers drawn at once; bounds the memory of a bootstrap or permutation test."""
_TIE = 1e-9
"""Sums that differ by less are equal but for rounding."""


def bootstrap_interval(
    differences: ArrayLike, *, confidence: float = 0.95, samples: int, seed: int
) -> tuple[float, float]:
    """Two-sided percentile interval of the mean difference (Efron and Tibshirani, "An Introduction to the Bootstrap",
    1993, ch. 13).

    Questions are resampled whole, so the pairing is kept. (nan, nan) when there is no question.
    """
    means = _bootstrap_means(_clean(differences), samples, seed)
    if not means.size:
        return (math.nan, math.nan)
    tail = (1 - confidence) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return (float(low), float(high))


def bootstrap_lower_bound(differences: ArrayLike, *, alpha: float, samples: int, seed: int) -> float:
    """One-sided (1 - alpha) lower bound of the mean difference; the lower end of the central 1 - 2 alpha interval."""
    return bootstrap_interval(differences, confidence=1 - 2 * alpha, samples=samples, seed=seed)[0]


def _bootstrap_means(values: Floats, samples: int, seed: int) -> Floats:
    """Means of `samples` resamples of the questions.

    A resample of n questions is a multinomial draw over the distinct values, which is the same distribution as drawing
    n indices and costs samples x distinct instead of samples x n (right or wrong has three distinct differences).
    """
    if not values.size:
        return values
    distinct, counts = np.unique(values, return_counts=True)
    drawn = np.random.default_rng(seed).multinomial(values.size, counts / values.size, size=samples)
    means: Floats = drawn @ distinct / values.size
    return means


def bootstrap_intervals(
    differences: ArrayLike, *, confidence: float = 0.95, samples: int, seed: int
) -> list[tuple[float, float]]:
    """`bootstrap_interval` of every column, drawing the questions once for all: a ladder's many comparisons cost one
    set of resamples and a matrix product. differences: (questions, comparisons); nan leaves a question out of its
    column."""
    values = np.asarray(differences, dtype=np.float64)
    tail = (1 - confidence) / 2
    intervals = [(math.nan, math.nan)] * values.shape[1]
    for columns, part in _alike(values):
        n = len(part)
        means = np.empty((samples, len(columns)))
        rng = np.random.default_rng(seed)
        rows = max(1, _CHUNK // n)
        for start in range(0, samples, rows):
            count = min(rows, samples - start)
            drawn = rng.integers(0, n, size=(count, n)) + n * np.arange(count)[:, None]
            times = np.bincount(drawn.ravel(), minlength=count * n).reshape(count, n)
            means[start : start + count] = times @ part / n
        for column, (low, high) in zip(columns, np.quantile(means, [tail, 1 - tail], axis=0).T, strict=True):
            intervals[column] = (float(low), float(high))
    return intervals


def p_greater_each(differences: ArrayLike, *, samples: int, seed: int) -> list[float]:
    """`p_greater` of every column, flipping the same signs in all. differences: as in `bootstrap_intervals`."""
    values = np.asarray(differences, dtype=np.float64)
    binary = np.all(np.isnan(values) | np.isin(values, (-1.0, 0.0, 1.0)), axis=0)
    found = [
        p_greater(values[:, column], samples=samples, seed=seed) if exact else 1.0
        for column, exact in enumerate(binary.tolist())
    ]
    graded = np.flatnonzero(~binary)
    for columns, part in _alike(values[:, graded]):
        observed = part.sum(axis=0)
        rng = np.random.default_rng(seed)
        hits = np.zeros(len(columns))
        rows = max(1, _CHUNK // len(part))
        for start in range(0, samples, rows):
            signs = 2.0 * rng.integers(0, 2, size=(min(rows, samples - start), len(part)), dtype=np.int8) - 1.0
            hits += np.sum(signs @ part >= observed - _TIE, axis=0)
        for column, count in zip(graded[columns], hits, strict=True):
            found[column] = float((1 + count) / (1 + samples))
    return found


def _alike(values: Floats) -> list[tuple[NDArray[np.int64], Floats]]:
    """Columns that have a value for the same questions, and those questions' rows of them."""
    known = ~np.isnan(values)
    patterns, which = np.unique(known, axis=1, return_inverse=True)
    groups = [np.flatnonzero(which.ravel() == pattern) for pattern in range(patterns.shape[1])]
    return [
        (columns, values[np.ix_(known[:, columns[0]], columns)]) for columns in groups if known[:, columns[0]].any()
    ]


def p_greater(differences: ArrayLike, *, samples: int, seed: int) -> float:
    """One-sided p-value of "the mean difference is at most zero".

    Right-or-wrong metrics (differences of -1, 0, 1) get the exact McNemar test, the binomial test on the questions that
    only one system answers (McNemar, 1947). Others get the paired permutation test, which flips the sign of each
    difference (Fisher, 1935), as (1 + hits) / (1 + samples), which never is zero (Phipson and Smyth, 2010).
    1.0 when no question tells the systems apart.
    """
    values = _clean(differences)
    values = values[values != 0]
    if not values.size:
        return 1.0
    if np.all(np.abs(values) == 1):
        wins = int(np.sum(values > 0))
        return float(special.bdtrc(wins - 1, values.size, 0.5)) if wins else 1.0
    observed = float(values.sum()) - 1e-12
    rng = np.random.default_rng(seed)
    hits = 0
    rows = max(1, _CHUNK // values.size)
    for start in range(0, samples, rows):
        count = min(rows, samples - start)
        flips = rng.integers(0, 2, size=(count, values.size), dtype=np.int8)
        hits += int(np.sum(2 * (flips @ values) - values.sum() >= observed))
    return (1 + hits) / (1 + samples)


def p_better(differences: ArrayLike) -> float:
    """One-sided p-value of "the mean difference is at most zero". Deterministic, and fine enough for any significance
    level.

    Right-or-wrong metrics get McNemar's mid-p test. The exact test counts the probability of the observed outcome in
    full and rejects equal systems only .6 to .8 times as often as its level allows. The mid-p test counts it half; over
    all numbers of discordant questions its size is at most 1.005 times the level (Fagerland, Lydersen and Laake, "The
    McNemar test for binary matched-pairs data: mid-p and asymptotic are better than exact conditional", 2013;
    benchmarks/gate.py has the table). Other metrics get the p-value of the paired permutation test, computed by the
    saddlepoint approximation to the distribution of its sign flips (Robinson, "Saddlepoint approximations for
    permutation tests and confidence intervals", 1982; Lugannani and Rice, 1980). Its relative error is small far out in
    the tail, which a thousand random flips hardly ever reach.
    1.0 when no question distinguishes the systems, or when there is no question.
    """
    values = _clean(differences)
    values = values[np.abs(values) > _TIE]
    if not values.size:
        return 1.0
    if np.all(np.abs(values) == 1):
        wins = int(np.sum(values > 0))
        return float(_mid_p(np.asarray(wins), np.asarray(values.size)))
    return _flipped(values)


def _mid_p(wins: ArrayLike, of: ArrayLike) -> Floats:
    """P(more than `wins` heads in `of` fair coin flips) plus half of P(exactly as many)."""
    successes, trials = np.asarray(wins), np.asarray(of)
    above = special.bdtrc(successes, trials, 0.5)
    from_here = np.where(successes > 0, special.bdtrc(successes - 1, trials, 0.5), 1.0)
    half: Floats = (above + from_here) / 2
    return half


def _flipped(values: Floats) -> float:
    """P(the sum of the values with random fair signs is at least their actual sum), by Lugannani and Rice's formula
    with the cumulant generating function K(t) = sum of log cosh(t v)."""
    total, scale = float(values.sum()), float(np.abs(values).max())
    weights, sought = np.abs(values) / scale, total / scale
    if sought >= weights.sum() - _TIE:  # every sign has to be a plus
        return max(2.0 ** -min(values.size, 1000), 5e-324)
    if sought < 0:
        return 1.0 - _flipped(-values)
    t = 0.0
    for _ in range(100):  # Newton's method; K' is increasing and K'' positive, and t = 0 lies below the root
        slope = np.tanh(t * weights)
        excess, curvature = float(weights @ slope) - sought, float(weights**2 @ (1 - slope**2))
        step = excess / max(curvature, 1e-12)
        t = min(max(t - step, 0.0), 2 * t + 1.0)
        if abs(step) < 1e-10 * (1 + t):
            break
    curvature = float(weights**2 @ (1 - np.tanh(t * weights) ** 2))
    cumulant = float(np.sum(np.logaddexp(t * weights, -t * weights) - math.log(2)))
    w = math.sqrt(max(0.0, 2 * (t * sought - cumulant)))
    if w < 1e-4:
        return float(special.ndtr(-sought / math.sqrt(float(weights @ weights))))
    u = t * math.sqrt(curvature)
    density = math.exp(-w * w / 2) / math.sqrt(2 * math.pi)
    return min(1.0, max(5e-324, float(special.ndtr(-w)) + density * (1 / u - 1 / w)))


@lru_cache(maxsize=64)
def _fewest_wins(level: float, size: int) -> NDArray[np.int64]:
    """For each number of discordant questions 0, 1, …, size: the fewest wins at which mid-p is at most `level`; one
    more than the number of questions where even winning all of them is not enough."""
    trials = np.arange(size + 1)
    low, high = np.zeros_like(trials), trials + 1
    while np.any(low < high):
        middle = (low + high) // 2
        enough = _mid_p(np.minimum(middle, trials), trials) <= level
        enough &= middle <= trials
        low, high = np.where(enough, low, middle + 1), np.where(enough, middle, high)
        low = np.minimum(low, high)
    return high


def power_of_loss(loss: float, *, n: int, churn: float, level: float) -> float:
    """The probability that the test for a loss, `p_better` of the negated differences, gives at most `level`.

    n: questions. churn: share of them on which the systems differ without either being better. loss: share that is lost
    in addition. Exact for right-or-wrong metrics: summed over the number of discordant questions and, given that, over
    the number of losses among them; both are binomial.
    """
    churn = min(churn, 1 - loss)
    discordant = churn + loss
    if n < 1 or discordant <= 0:
        return 0.0
    spread = 9 * math.sqrt(n * discordant * (1 - discordant)) + 9
    trials = np.arange(max(0, int(n * discordant - spread)), min(n, int(n * discordant + spread)) + 1)
    chance = _binomial(trials, n, discordant)
    critical = _fewest_wins(level, 1 << int(trials[-1]).bit_length())[trials]
    lost = np.where(
        critical > trials, 0.0, special.bdtrc(np.maximum(critical, 1) - 1, trials, (churn / 2 + loss) / discordant)
    )
    return min(1.0, float(chance @ np.where(critical <= 0, 1.0, lost)))


def _binomial(successes: NDArray[np.int64], n: int, share: float) -> Floats:
    if share >= 1:
        certain: Floats = (successes == n).astype(np.float64)
        return certain
    logarithm = special.gammaln(n + 1) - special.gammaln(successes + 1) - special.gammaln(n - successes + 1)
    found: Floats = np.exp(logarithm + special.xlogy(successes, share) + special.xlog1py(n - successes, -share))
    return found


@lru_cache(maxsize=65536)
def noticeable_loss(n: int, *, churn: float, level: float, power: float) -> float | None:
    """The smallest loss, to a tenth of a point, at which `power_of_loss` reaches `power`; None when not even losing
    every question reaches it."""
    low, high = 0, 1000
    if power_of_loss(1.0, n=n, churn=churn, level=level) < power:
        return None
    while low < high:
        middle = (low + high) // 2
        enough = power_of_loss(middle / 1000, n=n, churn=churn, level=level) >= power
        low, high = (low, middle) if enough else (middle + 1, high)
    return high / 1000


def questions_noticing(loss: float, *, churn: float, level: float, power: float, most: int = 1_000_000) -> int | None:
    """The number of questions at which `power_of_loss` reaches `power`; None when it takes more than `most`.

    Found by bisection. The power of a discrete test is not monotonic in the number of questions, so a slightly smaller
    number may reach it too.
    """

    def enough(n: int) -> bool:
        return power_of_loss(loss, n=n, churn=churn, level=level) >= power

    low, high = 0, 16
    while not enough(high):
        low, high = high, high * 2
        if high > most:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def non_inferiority_lower_bound(differences: ArrayLike, *, alpha: float) -> float:
    """One-sided (1 - alpha) lower bound of the mean difference that stays honest with few questions.

    The adjusted Wald bound of Bonett and Price ("Adjusted Wald confidence interval for a difference of binomial
    proportions based on paired data", 2012): one imagined question won and one lost are added. A bootstrap of twenty
    questions that all came out even would claim certainty; this does not. nan when there is no question.
    """
    mean, error = _adjusted(_clean(differences))
    return max(-1.0, mean - float(special.ndtri(1 - alpha)) * error) if error else math.nan


def p_non_inferior(differences: ArrayLike, *, margin: float) -> float:
    """One-sided p-value of "the mean difference is at or below -margin"; small means shown not to be worse by margin.

    The test that belongs to `non_inferiority_lower_bound`: p < alpha exactly when that bound is above -margin.
    1.0 when there is no question.
    """
    mean, error = _adjusted(_clean(differences))
    return float(special.ndtr(-(mean + margin) / error)) if error else 1.0


def detectable_difference(differences: ArrayLike, *, alpha: float, power: float) -> float:
    """The true difference that a test at `alpha` (one-sided) on as many questions, as discordant as these, would notice
    with probability `power`: (z(1 - alpha) + z(power)) standard errors. nan when there is no question."""
    _, error = _adjusted(_clean(differences))
    return float(special.ndtri(1 - alpha) + special.ndtri(power)) * error if error else math.nan


def _adjusted(values: Floats) -> tuple[float, float]:
    """Mean and standard error after one imagined win and one imagined loss."""
    if not values.size:
        return (math.nan, 0.0)
    padded = np.concatenate([values, [1.0, -1.0]])
    return (float(padded.mean()), float(padded.std() / math.sqrt(padded.size)))


def wilson_interval(successes: float, n: int, *, confidence: float = 0.95) -> tuple[float, float]:
    """Two-sided interval of a share (Wilson, 1927). (nan, nan) when n is 0."""
    low, high = wilson(successes / n if n else math.nan, n, float(special.ndtri(0.5 + confidence / 2)))
    return float(low), float(high)


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values in the given order (Holm, "A simple sequentially rejective multiple test procedure", 1979).

    Rejecting those below alpha keeps the chance of any false rejection below alpha. nan counts as 1.
    """
    values = [1.0 if math.isnan(p) else p for p in p_values]
    adjusted = [1.0] * len(values)
    running = 0.0
    for place, index in enumerate(sorted(range(len(values)), key=values.__getitem__)):
        running = max(running, min(1.0, (len(values) - place) * values[index]))
        adjusted[index] = running
    return adjusted


def _clean(differences: ArrayLike) -> Floats:
    """One flat array without nan. Whoever calls decides beforehand what a missing value means."""
    values = np.asarray(differences, dtype=np.float64).ravel()
    kept: Floats = values[~np.isnan(values)]
    return kept
