"""From how often a passage was clicked where it was shown to a grade and how sure that is.

Each grade has a law of attractiveness: passages of grade g are clicked, once examined, at rates of a beta distribution.
A passage's clicks then say how likely each grade is: Bayes' rule, with the exact likelihood of the position-based model
(a click at rank k has probability p_k · r) in the place of the binomial one, a beta-binomial prior, and shares of the
grades that the log itself makes most probable (Saerens, Latinne and Decaestecker, "Adjusting the outputs of a
classifier to new a priori probabilities", 2002). The prior is what shrinks: a passage shown a few times keeps close to
what such passages are like. The shares are those of passages that were examined about as often: what a ranker keeps
showing is better than what it seldom shows, and shares of all would credit the rest with what is known of the few.
A passage's own ranks do not count, only how much examining they add up to: what the ranker believes is what is to be
corrected.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from rerankops.annotation.feedback.clicks import PAIR, REACTION_RANK
from rerankops.config import FeedbackSettings
from rerankops.records import GRADES, RELEVANT_GRADE

Floats = NDArray[np.float64]
_NODES = 200
"""Rates at which the likelihood is computed, evenly spaced in the arc sine of their root: what n clicks and skips can
tell apart is about as wide there whatever the rate, 1/(2·√n), so 200 do for some thousands."""
_PASSAGES = 20_000
"""Passages in memory at a time, a row of _NODES each."""
_ROUNDS = 500
_BORROWED = 50.0
"""Passages that the shares of all lend to those of passages that were examined as often, within a factor of 2."""
_LEAST_EXAMINED = 0.5
"""Fewer expected examinations than this are none: reactions alone."""
_MEANS, _CONCENTRATIONS = (1e-4, 1 - 1e-4), (1.0, 1000.0)
"""Bounds of what is measured. A concentration of 1 is hardly a law, of 1000 all passages of a grade are alike."""


@dataclass(frozen=True)
class Rates:
    """Mean of the rate at which examined passages of each grade are clicked, and its concentration (alpha + beta).

    anchors: passages of each grade that they were measured on. measured: False when they are the settings'.
    """

    means: tuple[float, ...]
    concentration: float
    anchors: tuple[int, ...]
    measured: bool


def measured_rates(
    trials: pl.DataFrame, judged: pa.Table, propensity: Sequence[float | None], settings: FeedbackSettings
) -> Rates:
    """The rates that make the clicks of passages most probable whose grade people gave, or those of the settings when
    fewer than min_anchors of any grade were shown min_impressions times.

    trials: clicks.TRIALS, of which impressions alone are used. judged: records.Judgment. propensity: of rank 1, 2, …
    Means that do not rise with the grade are pooled (isotonic regression): clicks do not tell those grades apart.
    """
    from scipy.optimize import isotonic_regression, minimize

    people = pl.DataFrame(pl.from_arrow(judged)).select(*PAIR, "grade").unique(PAIR)
    seen = _with_propensity(trials.filter(pl.col("impressions") > 0), propensity).join(people, on=PAIR)
    pairs = (
        seen.group_by(*PAIR, "grade")
        .agg(pl.col("impressions", "clicked", "shown").sum())
        .filter(pl.col("impressions") >= settings.min_impressions)
        .sort(PAIR)
    )
    grades = pairs["grade"].to_numpy()
    anchors = tuple(int((grades == grade).sum()) for grade in GRADES)
    if min(anchors) < settings.min_anchors:
        return Rates(settings.click_rates, settings.click_concentration, anchors, measured=False)
    rows = seen.join(pairs.select(*PAIR).with_row_index("row"), on=PAIR)
    nodes, edges = _nodes()
    likelihood = _likelihood(rows, pairs["clicked"].to_numpy(), nodes, first=0)
    by_grade = [likelihood[grades == grade] for grade in GRADES]

    def surprise(at: Floats) -> float:
        prior = _prior(1 / (1 + np.exp(-at[:-1])), float(np.exp(at[-1])), edges)
        return -sum(float(np.log(part @ law + 1e-300).sum()) for part, law in zip(by_grade, prior, strict=True))

    begin = np.r_[_logit(np.array(settings.click_rates)), np.log(settings.click_concentration)]
    bounds = [tuple(_logit(np.array(_MEANS)))] * len(GRADES) + [tuple(np.log(_CONCENTRATIONS))]
    best = minimize(surprise, begin, method="L-BFGS-B", bounds=bounds).x
    means = isotonic_regression(1 / (1 + np.exp(-best[:-1])), weights=anchors).x
    return Rates(tuple(means.tolist()), float(np.exp(best[-1])), anchors, measured=True)


def graded(
    trials: pl.DataFrame, propensity: Sequence[float | None], rates: Rates, settings: FeedbackSettings
) -> tuple[pl.DataFrame, dict[int, float]]:
    """One row a passage with enough trials, sorted, and the share of each grade among them all.

    Columns query_id, passage_id, grade (the most probable), confidence (its probability), relevant (the probability of
    RELEVANT_GRADE or more), rate (expected clicks an examination: corrected for position and shrunk), impressions,
    reactions. Enough: min_impressions impressions, or min_reactions reactions.
    """
    enough = (pl.col("impressions").sum() >= settings.min_impressions) | (
        pl.col("reactions").sum() >= settings.min_reactions
    )
    usable = _with_propensity(trials, propensity).filter(enough.over(PAIR))
    examined = (
        pl.when(pl.col("rank") != REACTION_RANK).then(pl.col("shown") * pl.col("propensity")).otherwise(0.0).sum()
    )
    totals = pl.col("impressions", "reactions", "clicked").sum()
    pairs = usable.group_by(PAIR).agg(totals, examined=examined).sort(PAIR)
    usable = usable.join(pairs.select(*PAIR).with_row_index("row"), on=PAIR).sort("row")
    nodes, edges = _nodes()
    prior = _prior(np.array(rates.means), rates.concentration, edges)
    evidence, moments = np.empty((2, pairs.height, len(GRADES)))
    for start in range(0, pairs.height, _PASSAGES):
        block = slice(start, start + _PASSAGES)
        part = usable.filter(pl.col("row").is_between(start, start + _PASSAGES, closed="left"))
        likelihood = _likelihood(part, pairs["clicked"][block].to_numpy(), nodes, first=start)
        evidence[block], moments[block] = likelihood @ prior.T, likelihood @ (prior * nodes).T
    weights = np.empty_like(evidence)
    everywhere = _shares(evidence, np.ones(len(GRADES)))
    for band in np.unique(bands := np.floor(np.log2(np.maximum(pairs["examined"].to_numpy(), _LEAST_EXAMINED)))):
        weights[bands == band] = _shares(evidence[bands == band], everywhere * _BORROWED)
    posterior = evidence * weights
    posterior /= posterior.sum(1, keepdims=True)
    table = pairs.select(
        *PAIR,
        grade=pl.Series(posterior.argmax(1).astype(np.int8)),
        confidence=pl.Series(posterior.max(1, initial=0.0)),
        relevant=pl.Series(posterior[:, RELEVANT_GRADE:].sum(1)),
        rate=pl.Series((moments * weights).sum(1) / (evidence * weights).sum(1)),
        impressions="impressions",
        reactions="reactions",
    )
    return table, {grade: float(share) for grade, share in zip(GRADES, everywhere, strict=True)}


def _with_propensity(trials: pl.DataFrame, propensity: Sequence[float | None]) -> pl.DataFrame:
    """Trials at ranks that have one; a reaction's is 1."""
    known = {rank: value for rank, value in enumerate([1.0, *propensity]) if value is not None}
    each = pl.col("rank").replace_strict(list(known), list(known.values()), default=None, return_dtype=pl.Float64)
    return trials.with_columns(propensity=each).filter(pl.col("propensity").is_not_null())


def _nodes() -> tuple[Floats, Floats]:
    """Rates (_NODES,), and the ends (_NODES + 1,) of the intervals that they stand for."""
    places = np.arange(2 * _NODES + 1) * np.pi / 4 / _NODES
    rates = np.sin(places) ** 2
    return rates[1::2], rates[::2]


def _prior(means: Floats, concentration: float, edges: Floats) -> Floats:
    """(grades, nodes): how probable each interval of rates is for a passage of each grade, rows summing to 1."""
    from scipy.special import betainc

    means = means[:, None]
    below = betainc(means * concentration, (1 - means) * concentration, edges[None, :])
    return np.asarray(np.diff(below, axis=1), dtype=np.float64)


def _likelihood(trials: pl.DataFrame, clicked: Floats, nodes: Floats, *, first: int) -> Floats:
    """(passages, nodes): of each passage's clicks and skips were its rate the node's, up to a factor a passage.

    trials: with `row`, the passage's number from `first` on. clicked: all clicks of each passage.
    """
    levels, level = np.unique(trials["propensity"].to_numpy(), return_inverse=True)
    skips = np.zeros((len(clicked), len(levels)))
    np.add.at(skips, (trials["row"].to_numpy() - first, level), (trials["shown"] - trials["clicked"]).to_numpy())
    log = clicked[:, None] * np.log(nodes) + skips @ np.log1p(-levels[:, None] * nodes)
    return np.asarray(np.exp(log - log.max(1, keepdims=True, initial=-np.inf)), dtype=np.float64)


def _shares(evidence: Floats, added: Floats) -> Floats:
    """The shares of the grades that make the log most probable. evidence: (passages, grades), likelihoods. added: so
    many passages known to be of each grade are put beside, so that no share ends at 0."""
    from scipy.optimize import minimize

    def surprise(at: Floats) -> tuple[float, Floats]:
        shares = _softmax(at)
        mixed = evidence @ shares
        total = len(evidence) + added.sum()
        expected = (evidence / mixed[:, None]).sum(0) * shares + added
        value = -(np.log(mixed).sum() + added @ np.log(shares)) / total
        return float(value), shares - expected / total

    options = {"maxiter": _ROUNDS, "ftol": 1e-12, "gtol": 1e-7}
    return _softmax(minimize(surprise, np.log(added), jac=True, method="L-BFGS-B", options=options).x)


def _softmax(at: Floats) -> Floats:
    weights = np.exp(at - at.max())
    return np.asarray(weights / weights.sum(), dtype=np.float64)


def _logit(share: Floats) -> Floats:
    return np.asarray(np.log(share / (1 - share)), dtype=np.float64)
