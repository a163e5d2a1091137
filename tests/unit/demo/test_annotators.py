"""Simulated annotators do what their stated profiles say, and the same for the same task."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest

from rerankops.demo.annotators import ANNOTATORS, annotate
from rerankops.records import Annotation, AnnotationTask

STARTED = datetime(2026, 9, 15, 1, tzinfo=UTC)


def tasks(numbers: range) -> pa.Table:
    return AnnotationTask.table(
        {
            "batch_id": "batch-1",
            "task_id": f"task-{n}",
            "query_id": f"q{n}",
            "passage_id": f"p{n}",
            "query_text": "G52后备箱多大",
            "passage_title": "",
            "passage_text": "行李厢容积500L",
            "stratum": "numeric",
            "control_grade": None,
        }
        for n in numbers
    )


def said_by_all(count: int) -> tuple[np.ndarray, pa.Table]:
    true = np.arange(count) % 4
    return true, annotate(tasks(range(count)), true, annotators_per_task=5, started_at=STARTED, seed=1)


def test_there_are_five_and_every_one_is_marked_as_simulated():
    assert [a.annotator_id for a in ANNOTATORS] == [
        "sim-careful", "sim-hasty", "sim-lenient", "sim-strict", "sim-careless",
    ]  # fmt: skip


@pytest.mark.parametrize("annotator", ANNOTATORS, ids=lambda a: a.annotator_id)
def test_a_confusion_matrix_is_four_rows_of_probabilities_that_sum_to_one(annotator):
    matrix = np.array(annotator.confusion)
    assert matrix.shape == (4, 4)
    assert (matrix >= 0).all()
    np.testing.assert_allclose(matrix.sum(axis=1), 1.0)


def test_profiles_are_what_their_names_say():
    matrices = {a.annotator_id: np.array(a.confusion) for a in ANNOTATORS}
    shift = {name: float((m @ np.arange(4) - np.arange(4)).sum()) for name, m in matrices.items()}
    assert max(matrices, key=lambda name: np.trace(matrices[name])) == "sim-careful"
    assert np.allclose(np.diag(matrices["sim-careless"]), 0.6)
    assert shift["sim-lenient"] > 0.3
    assert shift["sim-strict"] < -0.3


def test_what_is_said_follows_the_stated_matrices():
    true, table = said_by_all(4000)
    truth = dict(zip([f"task-{n}" for n in range(4000)], true.tolist(), strict=True))
    seen = {a.annotator_id: np.zeros((4, 4)) for a in ANNOTATORS}
    for row in table.to_pylist():
        seen[row["annotator_id"]][truth[row["task_id"]], row["grade"]] += 1
    for annotator in ANNOTATORS:
        counts = seen[annotator.annotator_id]
        np.testing.assert_allclose(counts / counts.sum(axis=1, keepdims=True), annotator.confusion, atol=0.05)


def test_a_task_is_answered_alike_whatever_other_tasks_are_sent_with_it():
    true = np.arange(50) % 4
    whole = annotate(tasks(range(50)), true, annotators_per_task=3, started_at=STARTED, seed=7)
    part = annotate(tasks(range(20, 30)), true[20:30], annotators_per_task=3, started_at=STARTED, seed=7)
    wanted = [row for row in whole.to_pylist() if 20 <= int(row["task_id"].removeprefix("task-")) < 30]
    assert part.to_pylist() == wanted


def test_another_seed_gives_other_answers():
    true = np.arange(50) % 4
    first, second = (
        annotate(tasks(range(50)), true, annotators_per_task=3, started_at=STARTED, seed=seed) for seed in (1, 2)
    )
    assert not first.equals(second)


def test_every_task_gets_as_many_different_annotators_as_asked_and_all_take_turns():
    true = np.zeros(500, dtype=int)
    table = annotate(tasks(range(500)), true, annotators_per_task=3, started_at=STARTED, seed=3)
    assert table.schema == Annotation.schema
    per_task = Counter(table["task_id"].to_pylist())
    assert set(per_task.values()) == {3}
    turns = Counter(table["annotator_id"].to_pylist())
    assert len(turns) == 5
    assert min(turns.values()) > 240


def test_nobody_answers_before_the_start():
    _, table = said_by_all(40)
    assert min(table["annotated_at"].to_pylist()) > STARTED


@pytest.mark.parametrize("wanted", [0, 6])
def test_an_impossible_number_of_annotators_is_refused(wanted):
    with pytest.raises(ValueError, match=str(wanted)):
        annotate(tasks(range(2)), np.zeros(2, dtype=int), annotators_per_task=wanted, started_at=STARTED, seed=1)


def test_a_missing_true_grade_is_refused():
    with pytest.raises(ValueError, match="1 true grades for 2 tasks"):
        annotate(tasks(range(2)), np.zeros(1, dtype=int), annotators_per_task=1, started_at=STARTED, seed=1)
