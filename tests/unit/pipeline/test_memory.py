"""Which gold questions a training query asks in other words, and what the ladder tells of them."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from rerankops.evaluation.ladder import ladder
from rerankops.pipeline.memory import with_close_neighbour
from rerankops.records import QuestionOutcome


def test_a_question_is_close_to_a_query_whose_vector_lies_within_the_cosine() -> None:
    gold = np.array([[1, 0], [0, 1], [0.8, 0.6]], dtype=np.float32)
    training = np.array([[1, 0], [0.96, 0.28]], dtype=np.float32)
    assert with_close_neighbour(gold, training, cosine=0.9).tolist() == [True, False, True]
    assert with_close_neighbour(gold, training[:0], cosine=0.9).tolist() == [False] * 3
    assert with_close_neighbour(gold[:0], training, cosine=0.9).tolist() == []


def test_many_questions_are_compared_as_one() -> None:
    rng = np.random.default_rng(3)
    vectors = rng.normal(size=(2500, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    expected = (vectors @ vectors[:50].T).max(axis=1) >= 0.7
    assert with_close_neighbour(vectors, vectors[:50], cosine=0.7).tolist() == expected.tolist()


def outcomes(right: list[int]) -> pa.Table:
    rows = [
        {
            "question_id": f"g{place}", "system": "challenger", "stratum": "numeric", "correct": bool(value),
            "judged_by": "containment", "top_passage_ids": [], "answer": "", "hit@1": float(value),
        }
        for place, value in enumerate(right)
    ]  # fmt: skip
    table = pa.Table.from_pylist(rows)
    for name in QuestionOutcome.columns:
        if name not in table.column_names:
            table = table.append_column(name, pa.nulls(table.num_rows, QuestionOutcome.schema.field(name).type))
    return QuestionOutcome.conform(table.select(list(QuestionOutcome.columns)))


def test_the_ladder_tells_accuracy_with_and_without_a_close_neighbour() -> None:
    table = outcomes([1, 1, 0, 1, 0, 0])
    told = ladder({"challenger": table}, close=["g0", "g1", "g2"], bootstrap_samples=20, seed=1)["systems"][0]["close"]
    assert (told["with"]["n"], told["without"]["n"]) == (3, 3)
    assert told["with"]["accuracy"] == pytest.approx(2 / 3)
    assert told["without"]["accuracy"] == pytest.approx(1 / 3)
    low, high = told["with"]["accuracy_interval"]
    assert low < 2 / 3 < high


def test_a_side_without_questions_has_no_accuracy() -> None:
    told = ladder({"challenger": outcomes([1, 0])}, close=[], bootstrap_samples=20, seed=1)["systems"][0]["close"]
    assert told["with"] == {"n": 0, "accuracy": None, "accuracy_interval": None, "hit@1": None}
    assert told["without"]["accuracy"] == 0.5


def test_where_nobody_looked_the_ladder_tells_nothing_of_it() -> None:
    assert ladder({"challenger": outcomes([1, 0])}, bootstrap_samples=20, seed=1)["systems"][0]["close"] is None
