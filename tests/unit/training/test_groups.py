"""Groups from judgments: splits, hard negatives, suspected false negatives, and gold that must stay out."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from rerankops.errors import GoldLeak, InputError
from rerankops.records import ORIGINS, Judgment, Passage, TrainingGroup
from rerankops.training.groups import build_groups, share_of, shuffle_labels

PASSAGES = Passage.table({"passage_id": f"p{i}", "title": "t", "text": f"text {i}", "metadata": []} for i in range(40))


def judged(grades: dict[str, dict[str, int]], *, origin: str = "human", confidence: float = 0.8) -> pa.Table:
    return Judgment.table(
        {
            "query_id": query,
            "passage_id": passage,
            "query_text": f"text of {query}",
            "stratum": "numeric",
            "grade": grade,
            "confidence": confidence,
            "annotator_count": 3,
            "origin": origin,
        }
        for query, passages in grades.items()
        for passage, grade in passages.items()
    )


def ranking(scores: dict[str, dict[str, float]]) -> pa.Table:
    return pa.Table.from_pylist(
        [
            {"query_id": query, "passage_id": passage, "rank": place, "score": score}
            for query, passages in scores.items()
            for place, (passage, score) in enumerate(sorted(passages.items(), key=lambda item: -item[1]), start=1)
        ],
        schema=pa.schema(
            [("query_id", pa.string()), ("passage_id", pa.string()), ("rank", pa.int32()), ("score", pa.float64())]
        ),
    )


def falling(count: int = 20, start: float = 1.0) -> dict[str, float]:
    """p0 first, each next one 0.04 lower."""
    return {f"p{i}": start - 0.04 * i for i in range(count)}


def build(judgments: pa.Table, candidates: pa.Table, **changes: Any) -> tuple[pa.Table, dict[str, int]]:
    options: dict[str, Any] = {
        "negatives_per_positive": 2,
        "hard_negative_depth": 10,
        "false_negative_margin": 0.95,
        "dev_share": 0.35,
        "seed": 42,
    }
    return build_groups(judgments, candidates, PASSAGES, **options | changes)


def ids(passages: list[dict[str, Any]]) -> list[str]:
    return [passage["passage_id"] for passage in passages]


def test_judged_negatives_come_first_highest_ranked_first():
    table, counts = build(judged({"q": {"p0": 3, "p7": 0, "p2": 1, "p4": 0, "p1": 0}}), ranking({"q": falling()}))
    (group,) = table.to_pylist()
    assert ids(group["negatives"]) == ["p1", "p2"]
    assert counts["negatives_judged"] == 2
    assert counts["negatives_mined"] == 0
    assert {p["weight"] for p in group["positives"] + group["negatives"]} == {0.8}


def test_there_are_two_negatives_for_each_positive():
    table, counts = build(
        judged({"q": {"p0": 3, "p1": 2} | {f"p{i}": 0 for i in range(2, 9)}}), ranking({"q": falling()})
    )
    assert len(table["negatives"][0].as_py()) == 4
    assert counts["pairs"] == 6


def test_missing_negatives_are_mined_from_the_incumbent_s_first_ones():
    table, counts = build(judged({"q": {"p0": 3, "p9": 0}}), ranking({"q": falling()}))
    (group,) = table.to_pylist()
    assert ids(group["negatives"]) == ["p9", "p2"]
    assert [p["grade"] for p in group["negatives"]] == [0, None]
    assert counts["negatives_mined"] == 1


def test_a_candidate_that_scores_like_the_positive_is_suspected_and_not_used():
    _, counts = build(judged({"q": {"p0": 3}}), ranking({"q": falling()}))
    assert counts["suspected_false_negatives"] == 1  # p1, at 0.96 of the positive's score
    table, counts = build(judged({"q": {"p5": 3}}), ranking({"q": falling()}))
    assert ids(table["negatives"][0].as_py()) == ["p6", "p7"]
    assert counts["suspected_false_negatives"] == 5


def test_negative_scores_are_measured_from_the_query_s_lowest_candidate():
    logits = ranking({"q": {name: 10 * (score - 0.8) for name, score in falling().items()}})
    table, counts = build(judged({"q": {"p0": 3}}), logits)
    assert ids(table["negatives"][0].as_py()) == ["p1", "p2"]  # p1 is at 0.947 of the range
    assert counts["suspected_false_negatives"] == 0


def test_no_negative_lies_below_the_depth():
    table, counts = build(judged({"q": {"p0": 3, "p15": 0}}), ranking({"q": falling()}), hard_negative_depth=3)
    assert ids(table["negatives"][0].as_py()) == ["p2"]
    assert counts["negatives_judged"] == 0


def test_nothing_is_mined_where_the_incumbent_missed_the_positive():
    _, counts = build(judged({"q": {"p39": 3}}), ranking({"q": falling()}))
    assert counts["groups"] == 0
    assert counts["dropped_without_negative"] == 1


def test_queries_without_a_positive_are_dropped_and_counted():
    _, counts = build(judged({"q": {"p0": 1, "p1": 0}, "r": {"p0": 2}}), ranking({"q": falling(), "r": falling()}))
    assert (counts["groups"], counts["dropped_without_positive"]) == (1, 1)


def test_people_are_believed_before_feedback():
    both = pa.concat_tables([judged({"q": {"p0": 3, "p1": 3}}, origin="feedback"), judged({"q": {"p1": 0}})])
    table, _ = build(both, ranking({"q": falling()}))
    (group,) = table.to_pylist()
    assert ids(group["positives"]) == ["p0"]
    assert group["negatives"][0]["passage_id"] == "p1"


def many(count: int) -> tuple[pa.Table, pa.Table]:
    names = [f"q{i}" for i in range(count)]
    return judged({name: {"p0": 3, "p1": 0} for name in names}), ranking({name: falling() for name in names})


def test_a_query_never_changes_split_when_others_arrive():
    few, more = (build(*many(count))[0] for count in (100, 400))
    splits = dict(zip(more["query_id"].to_pylist(), more["split"].to_pylist(), strict=True))
    assert all(
        splits[query] == split
        for query, split in zip(*(few[c].to_pylist() for c in ("query_id", "split")), strict=True)
    )


def test_no_query_is_in_two_splits_and_dev_has_about_its_share():
    table, counts = build(*many(400))
    assert len(set(table["query_id"].to_pylist())) == table.num_rows == 400
    assert abs(counts["dev"] / 400 - 0.35) < 0.07
    assert counts["dev"] + counts["train"] == counts["groups"]


def test_another_seed_splits_otherwise():
    assert [share_of(f"q{i}", 1) < 0.35 for i in range(50)] != [share_of(f"q{i}", 2) < 0.35 for i in range(50)]


def test_a_judged_gold_question_fails_the_run():
    with pytest.raises(GoldLeak, match=r"1 judged queries are gold questions .* q3"):
        build(*many(5), gold_query_ids={"q3", "q77"})


def test_judgments_of_passages_that_left_the_corpus_are_left_out_and_counted_whoever_gave_them():
    judgments, candidates = many(5)
    more = judged({"q0": {"gone": 3, "away": 0}, "q9": {"gone": 3}})
    for origin in ORIGINS:
        told = more.set_column(more.schema.get_field_index("origin"), more.schema.field("origin"), [[origin] * 3])
        table, counts = build(pa.concat_tables([judgments, told]), candidates)
        assert counts["left_the_corpus"] == 3
        assert table.equals(build(judgments, candidates)[0])


def test_too_many_such_judgments_fail_with_what_to_do():
    judgments, candidates = many(5)
    both = pa.concat_tables([judgments, judged({"q9": {"gone": 3, "away": 0}})])
    share = 2 / both.num_rows
    assert build(both, candidates, max_lost_share=share)[1]["left_the_corpus"] == 2
    with pytest.raises(InputError, match=r"2 of \d+ judgments .* such as (gone|away) of query q9; .*label anew"):
        build(both, candidates, max_lost_share=share - 0.001)


def test_groups_are_the_same_whatever_the_order_of_the_rows():
    judgments, candidates = many(30)
    backwards = pa.Table.from_pylist(list(reversed(judgments.to_pylist())), schema=judgments.schema)
    assert build(backwards, candidates)[0].equals(build(judgments, candidates)[0])


def test_no_judgments_make_no_groups():
    table, counts = build(Judgment.empty(), ranking({}))
    assert table.schema == TrainingGroup.schema
    assert counts["groups"] == 0


def test_shuffled_labels_stay_within_their_query_and_change_most_of_them():
    judgments = judged({f"q{i}": {f"p{j}": 3 if j == i % 6 else 0 for j in range(6)} for i in range(60)})
    control = shuffle_labels(judgments, 7)
    before, after = (
        {(r["query_id"], r["passage_id"]): r["grade"] for r in t.to_pylist()} for t in (judgments, control)
    )
    assert before.keys() == after.keys()
    for query in {query for query, _ in before}:
        assert sorted(g for (q, _), g in before.items() if q == query) == sorted(
            g for (q, _), g in after.items() if q == query
        )
    kept = sum(after[key] == 3 for key, grade in before.items() if grade == 3)
    assert 2 <= kept <= 20  # one in six by chance
    assert shuffle_labels(judgments, 7).equals(control)
    assert not shuffle_labels(judgments, 8).equals(control)
