"""Batches: what is asked, what the controls are, in which order, always the same."""

from __future__ import annotations

from itertools import groupby
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from rerankops.annotation import Control, make_batch, sure_controls
from rerankops.errors import InputError, SettingsError
from rerankops.records import AnnotationTask, Judgment


@pytest.fixture
def batch(queries, candidates, passages, known):
    arguments: dict[str, Any] = {
        "candidates_per_query": 3,
        "controls": known,
        "control_share": 0.09,
        "batch_id": "batch-1",
        "seed": 7,
    }

    def _batch(queries=queries, candidates=candidates, passages=passages, **changes: Any) -> pa.Table:
        return make_batch(queries, candidates, passages, **{**arguments, **changes})

    return _batch


def pairs(table: pa.Table) -> set[tuple[str, str]]:
    return set(zip(table["query_id"].to_pylist(), table["passage_id"].to_pylist(), strict=True))


def asked(table: pa.Table) -> pa.Table:
    return table.filter(pc.is_null(table["control_grade"]))


def controls(table: pa.Table) -> pa.Table:
    return table.filter(pc.is_valid(table["control_grade"]))


def test_each_query_is_asked_about_its_best_candidates(batch, candidates):
    best = candidates.filter(pc.less_equal(candidates["rank"], 3))
    tasks = batch()
    assert tasks.schema.equals(AnnotationTask.schema)
    assert pairs(asked(tasks)) == pairs(best)


def test_ranks_with_gaps_still_give_as_many_tasks(batch, candidates):
    even = candidates.filter(pc.equal(pc.bit_wise_and(candidates["rank"], 1), 0))
    assert asked(batch(candidates=even)).num_rows == 60


def test_the_same_arguments_give_the_same_batch_whatever_the_order_of_their_rows(
    batch, queries, candidates, passages, known
):
    turned = {
        "queries": queries[::-1],
        "candidates": candidates.sort_by("fused_score"),
        "passages": passages[::-1],
        "controls": known[::-1],
    }
    assert batch().equals(batch(**turned))


def test_seed_and_batch_change_the_order_and_the_batch_changes_task_ids(batch):
    first, reseeded, renamed = batch(), batch(seed=8), batch(batch_id="batch-2")
    assert first["query_id"].to_pylist() != reseeded["query_id"].to_pylist()
    assert first["query_id"].to_pylist() != renamed["query_id"].to_pylist()
    assert set(asked(first)["task_id"].to_pylist()) == set(asked(reseeded)["task_id"].to_pylist())
    assert not set(first["task_id"].to_pylist()) & set(renamed["task_id"].to_pylist())


def test_tasks_of_one_query_stay_together_and_are_shuffled(batch):
    query_ids = batch()["query_id"].to_pylist()
    runs = [query_id for query_id, _ in groupby(query_ids)]
    assert len(runs) == len(set(runs))
    assert runs != sorted(runs)
    shown = batch().to_pylist()
    orders = [[task["passage_id"] for task in tasks] for _, tasks in groupby(shown, key=lambda task: task["query_id"])]
    assert any(order != sorted(order) for order in orders)


def test_controls_are_half_known_answers_and_half_known_or_sure_negatives(batch, known, candidates):
    drawn = controls(batch())
    assert drawn.num_rows == 6
    assert drawn["control_grade"].to_pylist().count(3) == 3
    assert drawn["control_grade"].to_pylist().count(0) == 3
    positives = drawn.filter(pc.equal(drawn["control_grade"], 3))
    assert pairs(positives) <= pairs(known)
    sure = pairs(drawn) - pairs(known)
    assert len(sure) == 1
    assert not sure & pairs(candidates)


def test_without_known_grades_all_controls_are_sure_negatives(batch, candidates):
    drawn = controls(batch(controls=Control.empty(), control_share=0.4))
    assert drawn.num_rows == 40
    assert set(drawn["control_grade"].to_pylist()) == {0}
    assert not pairs(drawn) & pairs(candidates)


def test_a_known_grade_of_a_task_that_is_asked_anyway_is_no_control(batch, known):
    same = Control.table(
        [{"query_id": "q00", "query_text": "x", "stratum": "numeric", "passage_id": "p00", "grade": 3}]
    )
    tasks = batch(controls=same)
    assert ("q00", "p00") in pairs(asked(tasks))
    assert set(controls(tasks)["control_grade"].to_pylist()) == {0}


def test_known_grades_in_the_middle_or_of_lost_passages_are_no_controls(batch):
    row = {"query_text": "x", "stratum": "numeric"}
    unusable = Control.table(
        [
            {**row, "query_id": "old1", "passage_id": "p01", "grade": 2},
            {**row, "query_id": "old2", "passage_id": "gone", "grade": 3},
        ]
    )
    drawn = batch(controls=unusable)["query_id"].to_pylist()
    assert "old1" not in drawn
    assert "old2" not in drawn


def test_a_task_says_why_its_query_is_asked_and_a_control_does_not(batch, queries):
    reasons = [("random", "uncertainty")[n % 2] for n in range(queries.num_rows)]
    tasks = batch(queries=queries.append_column("chosen_for", pa.array(reasons)))
    why = dict(zip(queries["query_id"].to_pylist(), reasons, strict=True))
    shown = asked(tasks)
    assert shown["chosen_for"].to_pylist() == [why[query] for query in shown["query_id"].to_pylist()]
    assert set(controls(tasks)["chosen_for"].to_pylist()) == {None}
    assert set(batch()["chosen_for"].to_pylist()) == {None}


def test_candidates_of_queries_that_are_not_asked_change_nothing(batch, queries):
    few = queries.slice(0, 5)
    tasks = batch(queries=few, controls=Control.empty())
    assert set(tasks["query_id"].to_pylist()) == set(few["query_id"].to_pylist())


def test_no_controls_when_none_are_wanted(batch):
    assert controls(batch(control_share=0.0)).num_rows == 0


def test_a_corpus_of_nothing_but_candidates_yields_no_sure_negatives(batch, passages, candidates):
    mine = candidates.filter(pc.equal(candidates["query_id"], "q00"))
    few = passages.filter(pc.is_in(passages["passage_id"], pc.unique(mine["passage_id"]).cast(pa.string())))
    tasks = batch(candidates=mine, passages=few, controls=Control.empty(), control_share=0.5)
    assert tasks.num_rows == 3


def test_a_share_of_nothing_but_controls_is_refused(batch):
    with pytest.raises(SettingsError, match="control_share is 1"):
        batch(control_share=1.0)


def test_a_candidate_without_its_passage_is_named(batch, passages):
    with pytest.raises(InputError, match=r"'p0[0-9]' of query 'q[0-9]+'.*same version of the corpus"):
        batch(passages=passages[20:])


def test_no_queries_give_an_empty_batch(batch, queries):
    assert batch(queries=queries[:0]).num_rows == 0


def test_earlier_judgments_are_controls_only_when_several_people_were_sure():
    row = {
        "query_text": "x",
        "stratum": "numeric",
        "query_id": "q",
        "grade": 3,
        "confidence": 0.999,
        "annotator_count": 3,
        "origin": "human",
    }
    judgments = Judgment.table(
        [
            {**row, "passage_id": "sure"},
            {**row, "passage_id": "sure-not", "grade": 0},
            {**row, "passage_id": "middling", "grade": 2},
            {**row, "passage_id": "unsure", "confidence": 0.9},
            {**row, "passage_id": "one-person", "annotator_count": 1},
            {**row, "passage_id": "machine", "origin": "teacher"},
        ]
    )
    assert sure_controls(judgments)["passage_id"].to_pylist() == ["sure", "sure-not"]
