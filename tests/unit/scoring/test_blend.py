"""The conditional logit: it finds the weights it should, and says when labels are noise."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from rerankops.errors import InputError
from rerankops.records import Signal
from rerankops.scoring.blend import Blend, fit, single

TRUE = {"bm25": 0.2, "cosine": 8.0, "maxsim": 9.0}
NAMES = list(TRUE)


def world(seed: int, *, queries: int = 300, size: int = 6, positives: int = 1) -> tuple[pa.Table, pa.Table]:
    """Signals of judged lists, and grades drawn from the model with the weights TRUE."""
    random = np.random.default_rng(seed)
    rows, grades = [], []
    for q in range(queries):
        bm25, cosine, maxsim = random.gamma(4, 3, size), random.normal(0.6, 0.1, size), random.normal(0.7, 0.06, size)
        score = 0.2 * bm25 + 8 * cosine + 9 * maxsim
        chosen = np.argsort(-(score + random.gumbel(size=size)))[:positives]
        for i in range(size):
            key = {"query_id": f"q{q}", "passage_id": f"p{i}"}
            values = {"bm25": bm25[i], "cosine": cosine[i], "maxsim": maxsim[i], "reciprocal_rank": 1 / (60 + i)}
            rows.append(key | values | {"rank": i + 1, "cross_encoder": None})
            grades.append(key | {"grade": 3 if i in chosen else 0})
    return Signal.table(rows), pa.Table.from_pylist(grades)


def shuffled(grades: pa.Table, seed: int) -> pa.Table:
    random = np.random.default_rng(seed)
    by_query = np.array(grades["grade"]).reshape(len(set(grades["query_id"].to_pylist())), -1)
    return grades.set_column(2, "grade", pa.array(random.permuted(by_query, axis=1).reshape(-1)))


def test_it_recovers_the_weights_that_made_the_labels():
    blend = fit(*world(1, queries=1500), NAMES, l2=0.0)
    raw = np.array(blend.weights) / np.array(blend.deviation)
    errors = np.array(blend.standard_errors) / np.array(blend.deviation)
    assert np.all(np.abs(raw - list(TRUE.values())) < 3 * errors)
    assert np.all(errors < np.array([0.02, 0.8, 1.2]))


def test_it_equals_a_fit_by_plain_newton_steps():
    signals, grades = world(2)
    blend = fit(signals, grades, NAMES, l2=0.0)
    x = np.column_stack([signals[name].to_numpy() for name in NAMES])
    x = ((x - x.mean(0)) / x.std(0)).reshape(300, 6, 3)
    y = np.array(grades["grade"]).reshape(300, 6) > 0
    w = np.zeros(3)
    for _ in range(30):
        p = np.exp(x @ w) / np.exp(x @ w).sum(1, keepdims=True)
        centred = x - (p[..., None] * x).sum(1, keepdims=True)
        hessian = np.einsum("qi,qij,qik->jk", p, centred, centred)
        w = w + np.linalg.solve(hessian, np.einsum("qi,qij->j", y - p, x))
    log_likelihood = float(np.log(p[y]).sum())
    assert blend.weights == pytest.approx(w, abs=1e-3)
    assert blend.log_likelihood == pytest.approx(log_likelihood, abs=1e-4)
    assert blend.null_log_likelihood == pytest.approx(300 * np.log(1 / 6))
    assert blend.standard_errors == pytest.approx(np.sqrt(np.diag(np.linalg.inv(hessian))), rel=1e-3)


def test_real_labels_have_a_tiny_p_value():
    for positives in (1, 2):
        assert fit(*world(4, queries=70, positives=positives), NAMES, l2=0.01).p_value < 1e-8


@pytest.mark.parametrize("positives", [1, 2, 3])
def test_labels_shuffled_within_queries_are_seldom_better_than_chance(positives):
    signals, grades = world(5, queries=70, positives=positives)
    p = np.array([fit(signals, shuffled(grades, seed), NAMES, l2=0.01).p_value for seed in range(100)])
    assert np.mean(p < 0.01) <= 0.05
    assert 0.35 < p.mean() < 0.65  # uniform: neither too eager nor too shy


def test_several_relevant_passages_share_the_mass_by_the_gain_of_their_grade():
    signals, grades = world(6, queries=40)
    doubled = grades.set_column(
        2, "grade", pa.array([3 if g else 2 if i % 6 == 5 else 0 for i, g in enumerate(np.array(grades["grade"]))])
    )
    one, both = fit(signals, grades, NAMES, l2=0.01), fit(signals, doubled, NAMES, l2=0.01)
    assert both.log_likelihood < one.log_likelihood
    half = doubled.append_column("weight", pa.array([0.5 if g == 2 else 1.0 for g in doubled["grade"].to_pylist()]))
    assert both.log_likelihood < fit(signals, half, NAMES, l2=0.01).log_likelihood < one.log_likelihood


def test_a_ridge_shrinks_the_weights():
    signals, grades = world(7)
    assert np.linalg.norm(fit(signals, grades, NAMES, l2=1.0).weights) < np.linalg.norm(
        fit(signals, grades, NAMES, l2=0.0).weights
    )


def test_a_constant_signal_gets_no_weight():
    signals, grades = world(8, queries=40)
    constant = signals.set_column(signals.column_names.index("bm25"), "bm25", pa.array([7.0] * signals.num_rows))
    blend = fit(constant, grades, NAMES, l2=0.01)
    assert blend.weights[0] == 0.0
    assert np.isfinite(blend.score(constant)).all()
    assert blend.p_value < 0.01


def test_separable_labels_have_finite_weights():
    signals, grades = world(9, queries=20)
    perfect = signals.set_column(signals.column_names.index("maxsim"), "maxsim", grades["grade"].cast("double"))
    assert np.isfinite(fit(perfect, grades, NAMES, l2=0.01).weights).all()


def test_only_queries_with_a_relevant_and_an_irrelevant_judged_passage_count():
    signals, grades = world(10, queries=30)
    partly = pa.Table.from_pylist([row for row in grades.to_pylist() if row["query_id"] != "q0" or row["grade"] == 0])
    assert fit(signals, partly, NAMES, l2=0.01).queries == 29


def test_nothing_judged_is_an_error():
    signals, grades = world(11, queries=3)
    with pytest.raises(InputError, match="nothing to fit"):
        fit(signals, grades.slice(0, 0), NAMES, l2=0.01)


def test_a_null_signal_is_an_error_that_names_it():
    signals, grades = world(12, queries=3)
    with pytest.raises(InputError, match="'cross_encoder' is null in 18 of 18 rows"):
        fit(signals, grades, ["cross_encoder"], l2=0.01)


def test_a_blend_survives_its_dictionary():
    signals, grades = world(13, queries=30)
    blend = fit(signals, grades, NAMES, l2=0.01)
    again = Blend.from_dict(blend.to_dict())
    assert again == blend
    assert np.array_equal(again.score(signals), blend.score(signals))
    with pytest.raises(InputError, match="not one of this version"):
        Blend.from_dict({"names": ["bm25"]})


def test_a_single_signal_scores_as_it_stands():
    signals, _ = world(14, queries=3)
    assert np.array_equal(single("cosine").score(signals), signals["cosine"].to_numpy())
