"""Each annotator's confusion matrix and each item's true grade, found together (the model of Dawid and Skene, 1979).

Maximum likelihood, which the paper and crowd-kit take, is too sure of itself where annotators gave few answers, for two
reasons. A matrix of 16 numbers is fitted to a few dozen: here it has a prior centred on the whole crowd's matrix, as in
hierarchical Bayesian models of annotators (Paun et al., 2018, "Comparing Bayesian models of annotation"), so that who
answered little is taken for an ordinary member of the crowd. And an answer vouches for itself: where good annotators
differ, whoever is believed first looks better for it and is believed more. Here an item is judged by what is known from
all the other items, as in collapsed variational Bayes (Asuncion et al., 2009, "On smoothing and inference for topic
models", CVB0).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rerankops.annotation.answers import Answers

Floats = NDArray[np.float64]
JEFFREYS = 0.5
"""Pseudo-count of a category under Jeffreys' prior."""
RIGHT = 0.8
"""What the crowd's own matrix is worth before anybody answered: the share of right answers; of the wrong ones, each
step further from the truth is half as frequent. It matters only where few answers can be compared."""
_TINY = 1e-10
_SETTLED = 1e-3
"""Iterations end when no probability moves by more than this."""


@dataclass(frozen=True)
class Crowd:
    """posterior: (items, grades), rows sum to 1. counts: (annotators, true, said), expected numbers of answers.
    prior: (grades,), how frequent each true grade is. iterations: that were needed."""

    posterior: Floats
    counts: Floats
    prior: Floats
    iterations: int


def fit(answers: Answers, known: Floats, *, iterations: int, prior_answers: float) -> Crowd:
    """Truths from matrices, matrices from truths, in turn, from the shares of votes on.

    known: (items, grades), the distribution of items whose grade is known (controls, settled by an adjudicator), NaN
    elsewhere; they teach the matrices and are not changed. Grade frequencies are those of the items that are no
    controls. prior_answers: answers of the whole crowd that stand beside an annotator's own, for each true grade;
    0: maximum likelihood by expectation maximisation, `iterations` times. iterations: at most.
    """
    from scipy import sparse

    n_items, n_annotators, n_grades = len(answers.items), len(answers.annotators), answers.n_grades
    starts = np.searchsorted(answers.item, np.arange(n_items + 1))
    said = answers.annotator * n_grades + answers.grade
    by_item = sparse.csr_matrix((np.ones(said.size), said, starts), shape=(n_items, n_annotators * n_grades))
    by_annotator = by_item.T.tocsr()
    fixed = ~np.isnan(known[:, 0])
    asked = ~answers.control[:, None]
    presumed = prior_answers * _presumed(n_grades)

    posterior = answers.votes() / np.maximum(np.diff(starts), 1)[:, None]
    posterior[fixed] = known[fixed]
    done, moved = 0, np.inf
    while done < iterations and (moved >= _SETTLED or not prior_answers):
        counts = np.asarray(by_annotator @ posterior).reshape(n_annotators, n_grades, n_grades)
        frequency = (posterior * asked).sum(axis=0)
        if prior_answers:
            crowd = counts.sum(axis=0).T + presumed
            crowd /= crowd.sum(axis=1, keepdims=True)
            given = (counts + prior_answers * crowd.T).reshape(-1, n_grades)[said]
            of = (counts.sum(axis=1) + prior_answers)[answers.annotator]
            own = posterior[answers.item]
            given -= own
            of -= own
            given /= of
            logs = _sums(np.log(np.maximum(given, _TINY, out=given), out=given), starts)
            logs += np.log(np.maximum(frequency + JEFFREYS - posterior * asked, _TINY))
        else:
            matrices = np.maximum(counts, _TINY)
            matrices /= matrices.sum(axis=1, keepdims=True)
            logs = by_item @ np.log(matrices).reshape(-1, n_grades)
            logs += np.log(np.maximum(frequency / max(frequency.sum(), _TINY), _TINY))
        updated = np.exp(logs - logs.max(axis=1, keepdims=True))
        updated /= updated.sum(axis=1, keepdims=True)
        updated[fixed] = known[fixed]
        moved = np.abs(updated - posterior).max(initial=0.0)
        posterior = updated
        done += 1
    counts = np.asarray(by_annotator @ posterior).reshape(n_annotators, n_grades, n_grades).swapaxes(1, 2)
    frequency = (posterior * asked).sum(axis=0) + JEFFREYS
    return Crowd(posterior, counts, frequency / frequency.sum(), done)


def _sums(values: Floats, starts: NDArray[np.int64]) -> Floats:
    """Sums of the rows starts[i] to starts[i + 1], zeros where there are none."""
    sums = np.zeros((starts.size - 1, values.shape[1]))
    filled = np.diff(starts) > 0
    if filled.any():
        sums[filled] = np.add.reduceat(values, starts[:-1][filled], axis=0)
    return sums


def _presumed(n_grades: int) -> Floats:
    """P(said | true) of a crowd of which nothing is known but that it can read, (true, said)."""
    distance = np.abs(np.arange(n_grades)[:, None] - np.arange(n_grades))
    wrong = np.where(distance > 0, 0.5**distance, 0.0)
    presumed: Floats = RIGHT * np.eye(n_grades) + (1 - RIGHT) * wrong / wrong.sum(axis=1, keepdims=True)
    return presumed


def kappa(matrices: Floats, prior: Floats) -> Floats:
    """Quadratically weighted kappa between true and said grades that confusion matrices imply, (...,).

    matrices: (..., true, said), rows sum to 1. prior: frequencies of the true grades, the same for everyone, so that
    annotators who saw easier tasks are not better for it.
    """
    n_grades = prior.size
    distance = (np.arange(n_grades)[:, None] - np.arange(n_grades)) ** 2
    joint = prior[:, None] * matrices
    chance = prior[:, None] * joint.sum(axis=-2, keepdims=True)
    expected = np.maximum((distance * chance).sum(axis=(-2, -1)), _TINY)
    return np.asarray(1 - (distance * joint).sum(axis=(-2, -1)) / expected)


def careless_probability(crowd: Crowd, *, limit: float, draws: int, seed: int) -> Floats:
    """Of each annotator, how probable it is that their kappa with the true grades is below `limit`, (annotators,).

    Their matrix is drawn from its posterior under Jeffreys' prior, not the crowd's: what is asked is what their own
    answers show, and the fewer these are, the less sure is the result.
    """
    rng = np.random.default_rng(seed)
    below = np.zeros(len(crowd.counts))
    for _ in range(draws):
        drawn = rng.standard_gamma(crowd.counts + JEFFREYS)
        drawn /= np.maximum(drawn.sum(axis=2, keepdims=True), _TINY)
        below += kappa(drawn, crowd.prior) < limit
    return below / draws
