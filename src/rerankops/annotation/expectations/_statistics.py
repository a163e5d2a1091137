"""Bounds that know the sample size, so that a few annotations condemn nobody."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

DOUBT = 0.05
"""One-sided error of a bound on a share."""
SIGNIFICANCE = 0.001
"""Chance that a delivery in which nothing is wrong fails a test of a pattern or of drift."""

Floats = NDArray[np.float64]


def at_most(successes: ArrayLike, trials: ArrayLike) -> Floats:
    """Upper Clopper–Pearson (1934) bound of a share at one-sided confidence 1 - DOUBT; 1 without a trial."""
    from scipy.stats import beta

    hits, n = np.asarray(successes, dtype=float), np.asarray(trials, dtype=float)
    with np.errstate(invalid="ignore"):
        bound = beta.ppf(1 - DOUBT, hits + 1, np.maximum(n - hits, 0))
    return np.asarray(np.where(hits >= n, 1.0, bound), dtype=float)


def at_least(successes: ArrayLike, trials: ArrayLike) -> Floats:
    """Lower Clopper–Pearson bound, see at_most; 0 without a trial."""
    hits, n = np.asarray(successes, dtype=float), np.asarray(trials, dtype=float)
    return np.asarray(1 - at_most(n - hits, n), dtype=float)


def tail(successes: ArrayLike, trials: ArrayLike, chance: ArrayLike) -> Floats:
    """Probability of so many successes or more when each trial succeeds by `chance`."""
    from scipy.stats import binom

    return np.asarray(binom.sf(np.asarray(successes) - 1, np.asarray(trials), np.asarray(chance)), dtype=float)
