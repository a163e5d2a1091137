"""Gold questions whose passages left the corpus have no ranking metrics, since no system can rank these passages."""

from __future__ import annotations

import pyarrow as pa
import pytest

from rerankops.errors import InputError
from rerankops.evaluation.ladder import aligned
from rerankops.evaluation.lost import without_lost
from rerankops.evaluation.metrics import per_question, qrels
from rerankops.records import GoldQuestion

CORPUS = pa.table({"passage_id": ["a", "b", "c"]})


def gold(*relevant: tuple[list[str], list[int] | None]) -> pa.Table:
    return GoldQuestion.table(
        {"question_id": f"g{place}", "text": "?", "accepted_answers": ["1"], "stratum": "all",
         "relevant_passage_ids": ids, "relevant_grades": grades}
        for place, (ids, grades) in enumerate(relevant)
    )  # fmt: skip


def test_a_passage_that_left_is_no_relevant_passage_any_more_and_grades_keep_to_theirs() -> None:
    table, counts = without_lost(gold((["x", "a"], [3, 2]), (["b", "x"], None), ([], None)), CORPUS, at_most=0.0)
    assert counts == {"lost_passages": 2, "lost_questions": 0}
    assert table["relevant_passage_ids"].to_pylist() == [["a"], ["b"], []]
    assert table["relevant_grades"].to_pylist() == [[2], None, None]
    ranked = pa.table({"query_id": ["g0", "g1"], "passage_id": ["a", "b"], "rank": [1, 1]})
    assert per_question(ranked, qrels(table))["recall@1"].to_pylist() == [1.0, 1.0], "all that there is was found"


def test_a_question_that_lost_all_has_no_ranking_metric_and_is_not_weighed() -> None:
    table, counts = without_lost(gold((["x"], [3]), (["a"], None)), CORPUS, at_most=0.5)
    assert counts == {"lost_passages": 1, "lost_questions": 1}
    assert table["relevant_passage_ids"].to_pylist() == [[], ["a"]]
    assert table["relevant_grades"].to_pylist() == [[], None]
    assert aligned({}, table, ["hit@1"]).question_ids == ("g1",)
    assert aligned({}, table, ["accuracy"]).question_ids == ("g0", "g1")


def test_nothing_changes_where_nothing_is_lost() -> None:
    whole = gold((["a", "b"], [3, 1]), ([], None))
    table, counts = without_lost(whole, CORPUS, at_most=0.0)
    assert table is whole
    assert counts == {"lost_passages": 0, "lost_questions": 0}


def test_too_many_fail_with_what_to_do() -> None:
    lost = gold((["x"], None), (["a"], None), (["b"], None), ([], None))
    assert without_lost(lost, CORPUS, at_most=0.34)[1]["lost_questions"] == 1
    with pytest.raises(InputError, match=r"1 of 3 gold questions lost all .* g0 among them.*max_lost_gold_share"):
        without_lost(lost, CORPUS, at_most=0.33)
