"""Do a ranker's scores mean probabilities, and how far apart do they lie for relevant and other passages?

A blend's score is a utility: only differences within a question mean anything by construction. Platt scaling, fitted on
development pairs, turns it into a probability of relevance; the calibration error on gold says whether those who set
one threshold for all questions (show, hide, refuse) may believe it.

Read together with `classification`: unjudged passages count as not relevant, and development pairs are the judged
ones while gold pairs are whole candidate lists, so that a probability fitted to the former can be too high on the
latter through the difference of base rates alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from scipy import special

from rerankops.errors import InputError
from rerankops.evaluation.classification import (
    Classification,
    Flags,
    Floats,
    both_kinds,
    classify,
    labelled,
    threshold,
)

BINS = 10
QUANTILES = 21
"""Points of a score distribution: 0, 5, 10 … 100 %."""


@dataclass(frozen=True)
class Platt:
    """P(relevant) = 1 / (1 + exp(-(slope · score + intercept)))."""

    slope: float
    intercept: float

    def probability(self, scores: Floats) -> Floats:
        return np.asarray(special.expit(self.slope * scores + self.intercept), dtype=np.float64)


@dataclass(frozen=True)
class Bin:
    """Pairs of like probability. low, high: the smallest and largest among them; predicted: mean probability;
    observed: share that is relevant."""

    low: float
    high: float
    n: int
    predicted: float
    observed: float


@dataclass(frozen=True)
class Calibration:
    """error: mean over pairs of |observed - predicted| of their bin, in [0, 1]."""

    error: float
    bins: tuple[Bin, ...]


@dataclass(frozen=True)
class Scores:
    """Scores at 0, 5, 10 … 100 % of the relevant and of the other pairs."""

    relevant: tuple[float, ...]
    other: tuple[float, ...]


@dataclass(frozen=True)
class Pairs:
    """What the pairs of one system say; None where it cannot be told."""

    classification: Classification | None
    calibration: Calibration | None
    scores: Scores | None


def pair_quality(gold: pa.Table, gold_qrels: pa.Table, development: pa.Table, development_qrels: pa.Table) -> Pairs:
    """Classification, calibration and score distributions of one system on its gold pairs, with the threshold and the
    probabilities taken from its development pairs. Tables as in `classification.labelled`.

    None: classification and calibration when the development pairs are not of both kinds (relevant and not) or there
    is no gold pair; score distributions when the gold pairs are not of both kinds.
    """
    scores, relevant = labelled(gold, gold_qrels)
    seen, truth = labelled(development, development_qrels)
    told = both_kinds(truth) and len(relevant) > 0
    return Pairs(
        classify(scores, relevant, at=threshold(seen, truth)) if told else None,
        calibration(fit_platt(seen, truth).probability(scores), relevant) if told else None,
        distributions(scores, relevant) if both_kinds(relevant) else None,
    )


def fit_platt(scores: Floats, relevant: Flags) -> Platt:
    """Logistic regression on one score with targets (n₊ + 1) / (n₊ + 2) and 1 / (n₋ + 2) in place of 1 and 0, which
    keeps the slope finite when a threshold separates the pairs (Platt, "Probabilistic outputs for support vector
    machines", 1999). scores, relevant: of development pairs. Raises InputError when they are not of both kinds."""
    from sklearn.linear_model import LogisticRegression

    if not both_kinds(relevant):
        raise InputError(f"of {len(relevant)} pairs {int(relevant.sum())} are relevant: no probability can be fitted")
    centre, spread = float(scores.mean()), float(scores.std()) or 1.0
    standard = ((scores - centre) / spread)[:, None]
    positives = int(relevant.sum())
    target = np.where(relevant, (positives + 1) / (positives + 2), 1 / (len(relevant) - positives + 2))
    # a target between 0 and 1 is the same pair once as relevant and once as not, with that much weight each
    model = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(
        np.vstack([standard, standard]),
        np.repeat([1, 0], len(relevant)),
        sample_weight=np.concatenate([target, 1 - target]),
    )
    slope = float(model.coef_[0, 0]) / spread
    return Platt(slope, float(model.intercept_[0]) - slope * centre)


def calibration(probabilities: Floats, relevant: Flags, *, bins: int = BINS) -> Calibration:
    """Expected calibration error with bins of equal mass: every bin holds about as many pairs, so that none of the
    error hides in a bin that is nearly empty (Nguyen and O'Connor, "Posterior calibration and exploratory analysis for
    natural language processing models", 2015). Equal probabilities share a bin, so there may be fewer bins. A small
    sample's error is above zero for a perfectly calibrated score too. Raises InputError when there is no pair."""
    if not len(relevant):
        raise InputError("there is no pair to measure calibration on")
    edges = np.unique(np.quantile(probabilities, np.linspace(0, 1, bins + 1)))
    place = np.searchsorted(edges[1:-1], probabilities, side="left")
    count = np.bincount(place)
    filled = np.flatnonzero(count)
    predicted = np.bincount(place, probabilities)[filled] / count[filled]
    observed = np.bincount(place, relevant.astype(float))[filled] / count[filled]
    order = np.argsort(place, kind="stable")
    starts = np.r_[0, np.cumsum(count[filled])[:-1]]
    low = np.minimum.reduceat(probabilities[order], starts)
    high = np.maximum.reduceat(probabilities[order], starts)
    error = math.fsum(count[filled] * np.abs(observed - predicted)) / len(relevant)
    columns = (low, high, count[filled], predicted, observed)
    found = zip(*(column.tolist() for column in columns), strict=True)
    return Calibration(float(error), tuple(Bin(*values) for values in found))


def distributions(scores: Floats, relevant: Flags) -> Scores:
    """Where the scores of relevant and of other pairs lie. Raises InputError when they are not of both kinds."""
    if not both_kinds(relevant):
        raise InputError(f"of {len(relevant)} pairs {int(relevant.sum())} are relevant: there is nothing to compare")
    at = np.linspace(0, 1, QUANTILES)
    return Scores(tuple(np.quantile(scores[relevant], at).tolist()), tuple(np.quantile(scores[~relevant], at).tolist()))
