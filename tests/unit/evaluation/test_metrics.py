"""Ranking metrics against definitions written out in numpy and against scikit-learn, on many random rankings."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest
from sklearn.metrics import average_precision_score, ndcg_score

from rerankops.evaluation import metrics
from rerankops.records import RELEVANT_GRADE

QUESTIONS, CANDIDATES, JUDGED = 60, 30, 12


def world(seed: int) -> tuple[pa.Table, pa.Table, list[np.ndarray], list[np.ndarray]]:
    """Rankings, qrels, and of each question the grades in ranked order and of all judged passages. Some judged
    passages were not retrieved, some retrieved ones were not judged (grade 0)."""
    rng = np.random.default_rng(seed)
    rows: list[dict[str, object]] = []
    judged: list[dict[str, object]] = []
    ranked, everything = [], []
    for number in range(QUESTIONS):
        question = f"q{number:02d}"
        passages = [f"p{i}" for i in range(40)]
        graded = dict(zip(rng.choice(passages, JUDGED, replace=False), rng.integers(0, 4, JUDGED), strict=True))
        order = rng.permutation(passages)[:CANDIDATES]
        rows += [{"query_id": question, "passage_id": p, "rank": place} for place, p in enumerate(order, start=1)]
        judged += [{"question_id": question, "passage_id": p, "grade": int(g)} for p, g in graded.items()]
        ranked.append(np.array([graded.get(p, 0) for p in order]))
        everything.append(np.array(list(graded.values())))
    schema = pa.schema([("question_id", pa.string()), ("passage_id", pa.string()), ("grade", pa.int8())])
    return pa.Table.from_pylist(rows), pa.Table.from_pylist(judged, schema), ranked, everything


def by_hand(ranked: np.ndarray, everything: np.ndarray) -> dict[str, float]:
    relevant = ranked >= RELEVANT_GRADE
    known = int((everything >= RELEVANT_GRADE).sum())
    first = int(np.argmax(relevant)) + 1 if relevant.any() else None
    precision = np.cumsum(relevant) / np.arange(1, len(ranked) + 1)

    def ndcg(gains: np.ndarray, best: np.ndarray) -> float:
        discounts = 1 / np.log2(np.arange(2, 12))
        ideal = np.sort(best)[::-1][:10]
        return float(gains[:10] @ discounts / (ideal @ discounts[: len(ideal)]))

    return {
        "reciprocal_rank@10": 1 / first if first is not None and first <= 10 else 0.0,
        "average_precision": float(precision[relevant].sum() / known),
        "ndcg@10": ndcg(ranked.astype(float), everything.astype(float)),
        "ndcg_exp@10": ndcg(2.0**ranked - 1, 2.0**everything - 1),
        **{f"hit@{k}": float(relevant[:k].any()) for k in (1, 6, 30)},
        **{f"recall@{k}": float(relevant[:k].sum() / known) for k in (1, 6, 30)},
    }


@pytest.mark.parametrize("seed", range(4))
def test_every_metric_is_its_definition(seed: int) -> None:
    ranking, qrels, ranked, everything = world(seed)
    found = metrics.per_question(ranking, qrels).to_pylist()
    compared = 0
    for row, of, known in zip(found, ranked, everything, strict=True):
        if (known >= RELEVANT_GRADE).any():
            expected = by_hand(of, known)
            assert set(expected) == set(metrics.METRICS)
            assert {name: row[name] for name in metrics.METRICS} == pytest.approx(expected)
            compared += 1
    assert compared > 50


@pytest.mark.parametrize("exponential", [False, True])
def test_ndcg_is_scikit_learns_when_every_judged_passage_is_ranked(exponential: bool) -> None:
    rng = np.random.default_rng(7)
    name = "ndcg_exp@10" if exponential else "ndcg@10"
    for _ in range(20):
        grades = rng.integers(0, 4, 15)
        grades[0] = 3
        ranking = pa.table({"query_id": ["q"] * 15, "passage_id": [f"p{i}" for i in range(15)], "rank": range(1, 16)})
        qrels = pa.table({"question_id": ["q"] * 15, "passage_id": ranking["passage_id"], "grade": pa.array(grades)})
        [row] = metrics.per_question(ranking, qrels).to_pylist()
        gains = 2.0**grades - 1 if exponential else grades
        assert row[name] == pytest.approx(ndcg_score([gains], [-np.arange(15.0)], k=10))
        relevant = grades >= RELEVANT_GRADE
        assert row["average_precision"] == pytest.approx(average_precision_score(relevant, -np.arange(15.0)))


@pytest.mark.parametrize("hash_seed", ["21", "24", "29"])
def test_both_ndcgs_are_the_same_in_every_process(hash_seed: str) -> None:
    """With these hash seeds ir-measures, asked for both at once, gave the exponential one for both."""
    program = """
import pyarrow as pa
from rerankops.evaluation import metrics
ranking = pa.table({"query_id": ["q", "q"], "passage_id": ["b", "a"], "rank": [1, 2]})
qrels = pa.table({"question_id": ["q", "q"], "passage_id": ["a", "b"], "grade": pa.array([3, 1], pa.int8())})
[row] = metrics.per_question(ranking, qrels).to_pylist()
print(row["ndcg@10"], row["ndcg_exp@10"])
"""
    environment = os.environ | {"PYTHONHASHSEED": hash_seed}
    printed = subprocess.run(
        [sys.executable, "-c", program], env=environment, check=True, capture_output=True, text=True
    )
    discount = 1 / np.log2(3)
    expected = [(1 + 3 * discount) / (3 + discount), (1 + 7 * discount) / (7 + discount)]
    assert [float(value) for value in printed.stdout.split()] == pytest.approx(expected)


def test_hit_and_recall_part_ways_when_several_passages_are_relevant() -> None:
    ranking = pa.table({"query_id": ["q"] * 3, "passage_id": ["a", "x", "b"], "rank": [1, 2, 3]})
    qrels = pa.table(
        {"question_id": ["q"] * 4, "passage_id": ["a", "b", "c", "d"], "grade": pa.array([3, 2, 2, 1], pa.int8())}
    )
    [row] = metrics.per_question(ranking, qrels).to_pylist()
    assert (row["hit@1"], row["hit@6"]) == (1.0, 1.0)
    assert (row["recall@1"], row["recall@6"]) == pytest.approx((1 / 3, 2 / 3))
    assert row["average_precision"] == pytest.approx((1 + 2 / 3) / 3)


def test_exponential_gain_prefers_one_full_answer_to_two_partial_ones() -> None:
    qrels = pa.table(
        {"question_id": ["q"] * 3, "passage_id": ["full", "b", "c"], "grade": pa.array([3, 2, 2], pa.int8())}
    )

    def ndcg(order: list[str]) -> tuple[float, float]:
        ranking = pa.table({"query_id": ["q"] * len(order), "passage_id": order, "rank": range(1, len(order) + 1)})
        [row] = metrics.per_question(ranking, qrels).to_pylist()
        return row["ndcg@10"], row["ndcg_exp@10"]

    (linear, exponential), (linear_partial, exponential_partial) = ndcg(["full"]), ndcg(["b", "c"])
    assert linear < linear_partial
    assert exponential > exponential_partial


def test_a_question_with_qrels_and_no_ranking_scores_nothing() -> None:
    ranking = pa.table({"query_id": ["q"], "passage_id": ["a"], "rank": [1]})
    qrels = pa.table({"question_id": ["q", "r"], "passage_id": ["a", "a"], "grade": pa.array([3, 3], pa.int8())})
    first, second = metrics.per_question(ranking, qrels).to_pylist()
    assert all(first[name] == 1.0 for name in metrics.METRICS)
    assert all(second[name] == 0.0 for name in metrics.METRICS)
