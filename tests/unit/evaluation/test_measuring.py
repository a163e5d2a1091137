"""From rankings to outcomes and ladder, on a gold set small enough to check by hand."""

from __future__ import annotations

import json
import math

import pyarrow as pa
import pytest

from rerankops.errors import InputError
from rerankops.evaluation import ExtractiveReader, metrics, outcomes
from rerankops.evaluation.ladder import COMPARED, aligned, ladder
from rerankops.records import GoldQuestion, Passage, QuestionOutcome

PASSAGES = Passage.table(
    [
        {"passage_id": "s5", "title": "星澜 S5", "text": "后备箱容积为450升。", "metadata": {}},
        {"passage_id": "e3", "title": "辰光 E3", "text": "后备箱容积为320升。", "metadata": {}},
        {"passage_id": "esp", "title": "星澜 S5", "text": "长按<ESP OFF>键三秒关闭ESP。", "metadata": {}},
        {"passage_id": "oil", "title": "星澜 S5", "text": "机油容量为4.5升。", "metadata": {}},
    ]
)
GOLD = GoldQuestion.table(
    {
        "question_id": question,
        "text": text,
        "accepted_answers": accepted,
        "stratum": stratum,
        "relevant_passage_ids": relevant,
    }
    for question, text, accepted, stratum, relevant in (
        ("q1", "后备箱容积多少", ["450L"], "numeric", ["s5"]),
        ("q2", "怎么关闭ESP", ["长按<ESP OFF>键"], "procedure", ["esp"]),
        ("q3", "机油多少升", ["4.5L"], "numeric", []),
        ("q4", "有什么亮点", [], "summary", ["e3", "s5"]),
        ("q5", "胎压多少", ["250kPa"], "numeric", ["oil"]),
    )
)
READER = ExtractiveReader(max_answer_characters=15, rank_decay=0.5)


def ranking(**orders: str) -> pa.Table:
    rows = [
        {"query_id": question, "passage_id": passage, "rank": rank}
        for question, order in orders.items()
        for rank, passage in enumerate(order.split(), start=1)
    ]
    return pa.Table.from_pylist(rows)


GOOD = ranking(q1="s5 e3", q2="esp oil", q3="oil s5", q4="oil s5 e3")
POOR = ranking(q1="e3 s5", q2="esp oil", q3="oil s5", q4="e3 s5 oil")


def measured(system: str, order: pa.Table, gold: pa.Table = GOLD) -> pa.Table:
    return outcomes(system, gold, order, PASSAGES, READER, 2)


def by_question(table: pa.Table) -> dict[str, dict[str, object]]:
    return {row["question_id"]: row for row in table.to_pylist()}


def test_every_gold_question_has_an_outcome_and_none_is_dropped() -> None:
    table = measured("challenger", GOOD)
    assert table.schema.equals(QuestionOutcome.schema)
    rows = by_question(table)
    assert list(rows) == ["q1", "q2", "q3", "q4", "q5"]
    assert (rows["q1"]["correct"], rows["q2"]["correct"], rows["q3"]["correct"]) == (True, True, True)
    assert rows["q4"]["correct"] is None, "no accepted answers, no verdict"
    assert (rows["q5"]["answer"], rows["q5"]["correct"], rows["q5"]["top_passage_ids"]) == ("", False, [])
    assert rows["q5"]["reciprocal_rank@10"] == 0.0
    assert rows["q4"]["top_passage_ids"] == ["oil", "s5"], "the reader sees top_k passages"


def test_ranking_metrics_are_those_one_computes_by_hand() -> None:
    rows = by_question(measured("challenger", GOOD))
    assert rows["q3"]["ndcg@10"] is None, "no relevant passage is known"
    assert rows["q1"]["reciprocal_rank@10"] == 1.0
    assert rows["q4"]["reciprocal_rank@10"] == 0.5
    ideal = 1 + 1 / math.log2(3)
    assert rows["q4"]["ndcg@10"] == pytest.approx((1 / math.log2(3) + 1 / math.log2(4)) / ideal)
    assert (rows["q4"]["recall@1"], rows["q4"]["recall@6"], rows["q4"]["recall@30"]) == (0.0, 1.0, 1.0)
    assert (rows["q4"]["hit@1"], rows["q4"]["hit@6"], rows["q4"]["hit@30"]) == (0.0, 1.0, 1.0)
    assert rows["q4"]["average_precision"] == pytest.approx((1 / 2 + 2 / 3) / 2)


def test_grades_count_in_ndcg_and_low_ones_are_not_relevant() -> None:
    qrels = pa.table(
        {"question_id": ["q", "q", "r"], "passage_id": ["a", "b", "a"], "grade": pa.array([3, 1, 1], pa.int8())}
    )
    row, unknown = metrics.per_question(ranking(q="b a", r="a"), qrels).to_pylist()
    assert row["reciprocal_rank@10"] == 0.5
    assert row["ndcg@10"] == pytest.approx((1 + 3 / math.log2(3)) / (3 + 1 / math.log2(3)))
    assert all(unknown[name] is None for name in metrics.METRICS)


def test_a_passage_ranked_twice_is_an_error() -> None:
    with pytest.raises(InputError, match="'s5' is ranked 2 times for question 'q1'"):
        measured("base", ranking(q1="s5 e3 s5"))


def test_a_passage_that_the_corpus_lacks_is_an_error() -> None:
    with pytest.raises(InputError, match="'gone' is not in the corpus"):
        measured("base", ranking(q1="gone s5"))


def test_questions_that_gold_does_not_have_are_ignored() -> None:
    extra = pa.concat_tables([GOOD, ranking(other="gone")])
    assert measured("challenger", extra).equals(measured("challenger", GOOD))


def test_an_empty_ranking_is_wrong_everywhere() -> None:
    empty = ranking(q1="s5").slice(0, 0)
    assert measured("base", empty)["correct"].to_pylist() == [False, False, False, None, False]


@pytest.fixture
def both() -> dict[str, pa.Table]:
    return {"challenger": measured("challenger", GOOD), "retrieval_only": measured("retrieval_only", POOR)}


def test_the_ladder_is_json_and_goes_from_cheap_to_dear(both: dict[str, pa.Table]) -> None:
    made = json.loads(json.dumps(ladder(both, bootstrap_samples=200, seed=1), allow_nan=False))
    assert [system["name"] for system in made["systems"]] == ["retrieval_only", "challenger"]
    poor, good = made["systems"]
    assert (poor["accuracy"], good["accuracy"]) == (0.5, 0.75)
    numeric, summary = good["strata"]["numeric"], good["strata"]["summary"]
    assert (numeric["n"], numeric["accuracy"], numeric["hit@1"]) == (3, pytest.approx(2 / 3), 0.5)
    assert (summary["n"], summary["accuracy"], summary["recall@1"], summary["recall@6"]) == (1, None, 0.0, 1.0)
    assert (good["n"], good["missing"]) == (5, 1)
    assert good["accuracy_interval"][0] < 0.75 < good["accuracy_interval"][1]
    first = made["comparisons"][0]
    assert (first["of"], first["against"], first["metric"], first["n"]) == (
        "challenger",
        "retrieval_only",
        "accuracy",
        4,
    )
    assert first["difference"] == pytest.approx(0.25)
    assert [row["metric"] for row in made["comparisons"]] == list(COMPARED)


def test_without_accepted_answers_accuracy_is_unknown_and_ranks_decide() -> None:
    gold = GoldQuestion.table([{**row, "accepted_answers": []} for row in GOLD.to_pylist()])
    tables = {name: measured(name, order, gold) for name, order in (("retrieval_only", POOR), ("challenger", GOOD))}
    made = ladder(tables, bootstrap_samples=100, seed=1)
    assert made["systems"][0]["accuracy"] is None
    assert made["systems"][0]["accuracy_interval"] is None
    assert "accuracy" not in {row["metric"] for row in made["comparisons"]}


def test_systems_asked_different_questions_are_not_compared(both: dict[str, pa.Table]) -> None:
    with pytest.raises(InputError, match="not asked the same questions"):
        ladder({**both, "base": both["challenger"].slice(1)}, bootstrap_samples=10, seed=1)
    with pytest.raises(InputError, match="unknown system 'mine'"):
        ladder({"mine": both["challenger"]}, bootstrap_samples=10, seed=1)


def test_the_gate_gets_every_question_that_can_have_a_verdict(both: dict[str, pa.Table]) -> None:
    accuracy = aligned(both, GOLD, ["accuracy", "mrr@10"])
    assert accuracy.question_ids == ("q1", "q2", "q3", "q5")
    assert accuracy.strata == ("numeric", "procedure", "numeric", "numeric")
    assert accuracy.values["accuracy"]["retrieval_only"].tolist() == [0, 1, 1, 0]
    assert len(accuracy.values["mrr@10"]["retrieval_only"]) == 4
    ranks = aligned(both, GOLD, ["mrr@10"])
    assert ranks.question_ids == ("q1", "q2", "q4", "q5")
    holed = aligned({**both, "base": both["challenger"].slice(1)}, GOLD, ["accuracy"])
    assert math.isnan(holed.values["accuracy"]["base"][0]), "a missing row is a missing verdict, not a smaller gold set"


def test_qrels_have_the_grades_that_gold_states_and_the_highest_where_it_states_none() -> None:
    rows = [
        {"question_id": "a", "relevant_passage_ids": ["p1", "p2"], "relevant_grades": [3, 2]},
        {"question_id": "b", "relevant_passage_ids": ["p3"], "relevant_grades": None},
        {"question_id": "c", "relevant_passage_ids": [], "relevant_grades": None},
    ]
    shared = {"text": "?", "accepted_answers": ["x"], "stratum": "all"}
    found = metrics.qrels(GoldQuestion.table([row | shared for row in rows]))
    assert [tuple(row.values()) for row in found.to_pylist()] == [("a", "p1", 3), ("a", "p2", 2), ("b", "p3", 3)]
