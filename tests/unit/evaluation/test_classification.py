"""Pairs as a classification: threshold from development, figures by hand, probabilities that mean what they say."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from scipy import optimize, special
from sklearn.calibration import calibration_curve
from sklearn.metrics import f1_score

from rerankops.errors import InputError
from rerankops.evaluation.calibration import (
    QUANTILES,
    Platt,
    calibration,
    distributions,
    fit_platt,
    pair_quality,
)
from rerankops.evaluation.classification import classify, labelled, threshold


def pairs(**scores: dict[str, float]) -> pa.Table:
    rows = [
        {"query_id": question, "passage_id": passage, "rank": rank, "score": score}
        for question, of in scores.items()
        for rank, (passage, score) in enumerate(sorted(of.items(), key=lambda item: -item[1]), start=1)
    ]
    return pa.Table.from_pylist(rows)


def qrels(**grades: dict[str, int]) -> pa.Table:
    rows = [{"question_id": q, "passage_id": p, "grade": g} for q, of in grades.items() for p, g in of.items()]
    schema = pa.schema([("question_id", pa.string()), ("passage_id", pa.string()), ("grade", pa.int8())])
    return pa.Table.from_pylist(rows, schema)


def noisy(n: int, *, share: float = 0.2, apart: float = 2.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    relevant = rng.random(n) < share
    return rng.normal(size=n) + apart * relevant, relevant


# -- labels ----------------------------------------------------------------------------------------------------------


def test_unjudged_and_low_grades_are_not_relevant_and_unknown_questions_are_left_out() -> None:
    table = pairs(q={"a": 3.0, "b": 2.0, "c": 1.0}, r={"a": 5.0}, s={"a": 4.0})
    scores, relevant = labelled(table, qrels(q={"a": 2, "b": 1, "never retrieved": 3}, r={"a": 1}))
    assert scores.tolist() == [3.0, 2.0, 1.0]
    assert relevant.tolist() == [True, False, False]


@pytest.mark.parametrize("score", [float("nan"), float("inf")])
def test_a_score_that_is_no_number_names_its_pair(score: float) -> None:
    with pytest.raises(InputError, match="score of passage 'a' of question 'q'"):
        labelled(pairs(q={"a": score}), qrels(q={"a": 3}))


def test_a_pair_that_is_there_twice_is_an_error() -> None:
    table = pairs(q={"a": 1.0})
    with pytest.raises(InputError, match="pairs: passage 'a' of question 'q' is there more than once"):
        labelled(pa.concat_tables([table, table]), qrels(q={"a": 3}))
    grades = qrels(q={"a": 3})
    with pytest.raises(InputError, match="qrels: passage 'a' of question 'q'"):
        labelled(table, pa.concat_tables([grades, grades]))


# -- threshold -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_no_threshold_has_a_larger_f1_than_the_chosen_one(seed: int) -> None:
    scores, relevant = noisy(100, seed=seed)
    chosen = threshold(scores, relevant)
    everywhere = {at: f1_score(relevant, scores >= at) for at in scores}
    assert everywhere[chosen] == pytest.approx(max(everywhere.values()))
    assert chosen == max(at for at, f1 in everywhere.items() if f1 >= max(everywhere.values()) - 1e-12)


def test_of_equal_thresholds_the_highest_is_chosen() -> None:
    # calling the first relevant gives 1/1 and 1/2, calling all four 2/4 and 2/2: F1 is 2/3 both times
    assert threshold(np.array([4.0, 3.0, 2.0, 1.0]), np.array([True, False, False, True])) == 4.0


@pytest.mark.parametrize("relevant", [np.zeros(4, bool), np.ones(4, bool), np.zeros(0, bool)])
def test_one_kind_of_pair_has_no_threshold(relevant: np.ndarray) -> None:
    with pytest.raises(InputError, match="no threshold can be chosen"):
        threshold(np.arange(len(relevant), dtype=float), relevant)


# -- classification --------------------------------------------------------------------------------------------------


def test_classification_is_counted_by_hand() -> None:
    scores = np.array([5.0, 4.0, 3.0, 2.0, 1.0, 0.0])
    relevant = np.array([True, False, True, False, True, False])
    found = classify(scores, relevant, at=2.5)
    assert (found.precision, found.recall, found.accuracy, found.n) == pytest.approx((2 / 3, 2 / 3, 4 / 6, 6))
    assert found.f1 == pytest.approx(2 / 3)
    nobody = classify(scores, relevant, at=9.0)
    assert (nobody.precision, nobody.recall, nobody.f1, nobody.accuracy) == (0.0, 0.0, 0.0, 0.5)


def test_unjudged_relevant_passages_lower_precision_and_leave_recall() -> None:
    """What the module says of unjudged passages, shown on relevant ones that gold does not name."""
    scores, relevant = noisy(20_000, seed=2)
    named = relevant & (np.random.default_rng(0).random(len(relevant)) < 0.5)
    whole, partial = (classify(scores, flags, at=1.0) for flags in (relevant, named))
    assert partial.precision == pytest.approx(whole.precision / 2, rel=0.05)
    assert partial.recall == pytest.approx(whole.recall, abs=0.03)


# -- Platt scaling and calibration error -----------------------------------------------------------------------------


def test_platt_scaling_is_the_maximum_of_platts_likelihood() -> None:
    scores, relevant = noisy(400, seed=5)
    found = fit_platt(scores, relevant)
    positives, others = relevant.sum(), (~relevant).sum()
    target = np.where(relevant, (positives + 1) / (positives + 2), 1 / (others + 2))

    def loss(parameters: np.ndarray) -> float:
        utility = parameters[0] * scores + parameters[1]
        return float(np.sum(np.logaddexp(0, utility) - target * utility))

    best = optimize.minimize(loss, [0.0, 0.0], method="BFGS", options={"gtol": 1e-8})
    assert (found.slope, found.intercept) == pytest.approx(tuple(best.x), rel=1e-3)


def test_platt_scaling_finds_the_probabilities_that_made_the_labels() -> None:
    scores = np.random.default_rng(1).normal(50.0, 30.0, 50_000)
    relevant = np.random.default_rng(2).random(50_000) < special.expit(0.1 * scores - 6.0)
    found = fit_platt(scores, relevant)
    assert (found.slope, found.intercept) == pytest.approx((0.1, -6.0), rel=0.05)
    assert calibration(found.probability(scores), relevant).error < 0.01


def test_separable_and_constant_scores_keep_finite_probabilities() -> None:
    separable = fit_platt(np.array([0.0, 1.0, 2.0, 3.0]), np.array([False, False, True, True]))
    assert np.isfinite([separable.slope, separable.intercept]).all()
    assert 0.5 < separable.probability(np.array([3.0]))[0] < 0.95
    constant = fit_platt(np.ones(100), np.arange(100) < 30)
    assert constant.probability(np.array([1.0]))[0] == pytest.approx(0.3, abs=0.02)


def test_the_calibration_error_is_counted_by_hand() -> None:
    found = calibration(np.array([0.1, 0.1, 0.3, 0.9, 0.9, 0.9]), np.array([0, 0, 0, 1, 1, 0], bool), bins=2)
    first, second = found.bins
    assert (first.low, first.high, first.n, first.observed) == (0.1, 0.3, 3, 0.0)
    assert (second.low, second.high, second.n) == (0.9, 0.9, 3)
    assert (first.predicted, second.predicted, second.observed) == pytest.approx((0.5 / 3, 0.9, 2 / 3))
    assert found.error == pytest.approx((3 * 0.5 / 3 + 3 * (0.9 - 2 / 3)) / 6)


def test_the_bins_are_scikit_learns_and_hold_equal_mass() -> None:
    probabilities = np.random.default_rng(3).beta(1, 8, 1000)
    relevant = np.random.default_rng(4).random(1000) < probabilities
    found = calibration(probabilities, relevant, bins=10)
    observed, predicted = calibration_curve(relevant, probabilities, n_bins=10, strategy="quantile")
    assert [each.n for each in found.bins] == [100] * 10
    assert [each.predicted for each in found.bins] == pytest.approx(predicted.tolist(), abs=0.002)
    assert [each.observed for each in found.bins] == pytest.approx(observed.tolist(), abs=0.011)
    assert all(a.high <= b.low for a, b in pairwise(found.bins))


def test_equal_probabilities_share_a_bin() -> None:
    found = calibration(np.full(50, 0.3), np.arange(50) < 10)
    [only] = found.bins
    assert (only.n, only.observed) == (50, 0.2)
    assert found.error == pytest.approx(0.1)


def test_a_confident_and_wrong_ranker_has_a_large_error() -> None:
    scores, relevant = noisy(2000, share=0.5, apart=0.3, seed=8)
    honest = fit_platt(scores, relevant)
    overconfident = Platt(10 * honest.slope, 10 * honest.intercept)
    errors = [calibration(each.probability(scores), relevant).error for each in (honest, overconfident)]
    assert errors[0] < 0.05 < 0.15 < errors[1]


# -- distributions, and all together ---------------------------------------------------------------------------------


def test_distributions_are_quantiles_of_each_kind() -> None:
    found = distributions(np.array([1.0, 2.0, 3.0, 10.0, 20.0, 30.0]), np.array([0, 0, 0, 1, 1, 1], bool))
    assert len(found.relevant) == len(found.other) == QUANTILES
    assert (found.relevant[0], found.relevant[10], found.relevant[-1]) == (10.0, 20.0, 30.0)
    assert (found.other[0], found.other[10], found.other[-1]) == (1.0, 2.0, 3.0)


def tables(seed: int, questions: int = 80) -> tuple[pa.Table, pa.Table]:
    rng = np.random.default_rng(seed)
    scored = {f"q{i}": {f"p{j}": float(rng.normal() + 2 * (j < 2)) for j in range(10)} for i in range(questions)}
    return pairs(**scored), qrels(**{q: {"p0": 3, "p1": 2, "p2": 1} for q in scored})


def test_the_threshold_and_the_probabilities_come_from_development_alone() -> None:
    gold, development = tables(1), tables(2)
    found = pair_quality(*gold, *development)
    scores, relevant = labelled(*development)
    assert found.classification is not None
    assert found.calibration is not None
    assert found.scores is not None
    assert found.classification.threshold == threshold(scores, relevant)
    assert found.classification.n == 800
    assert found.calibration.error < 0.05
    shifted = gold[0].set_column(3, "score", pa.array(np.asarray(gold[0]["score"]) - 3.0))
    worse = pair_quality(shifted, gold[1], *development)
    assert worse.classification is not None
    assert worse.calibration is not None
    assert worse.classification.threshold == found.classification.threshold
    assert worse.classification.recall < found.classification.recall
    assert worse.calibration.error > found.calibration.error


def test_what_cannot_be_told_is_none() -> None:
    gold = tables(1)
    nothing = pair_quality(*gold, gold[0].slice(0, 0), gold[1])
    assert (nothing.classification, nothing.calibration) == (None, None)
    assert nothing.scores is not None
    unknown = pair_quality(gold[0], gold[1].slice(0, 0), *tables(2))
    assert (unknown.classification, unknown.calibration, unknown.scores) == (None, None, None)
