"""Where two people agree on a gold question, what goes to a third, and what a version of a set keeps."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import polars as pl
import pytest

from rerankops.annotation.gold import consensus, freezing
from rerankops.errors import InputError
from rerankops.records import GoldAnswer, GoldDraft, GoldEntry

AT = datetime(2026, 3, 1, tzinfo=UTC)


def normalise(text: str) -> str:
    return text.lower().replace(" ", "").replace("升", "l")


def answer(person: str, *words: str, question: str = "q1", role: str = "annotator", **more: Any) -> dict[str, Any]:
    grades = more.pop("grades", {})
    return {
        "question_id": question,
        "annotator_id": person,
        "role": role,
        "accepted_answers": list(words),
        "unanswerable": False,
        "discard": False,
        "graded_passage_ids": list(grades),
        "grades": list(grades.values()),
        "comment": "",
    } | more


def settle(*answers: dict[str, Any], questions: int = 1, per_question: int = 2) -> list[consensus.Settled]:
    draft = GoldDraft.table(
        {"question_id": f"q{n}", "text": f"t{n}", "stratum": "numeric", "source": "file"}
        for n in range(1, questions + 1)
    )
    return consensus.settle(
        draft, GoldAnswer.table(answers), normalise=normalise, per_question=per_question, passage_agreement=0.5
    )


def test_one_answer_is_no_agreement() -> None:
    (one,) = settle(answer("anna", "450 L"))
    assert (one.state, one.answered_by, one.disputes) == ("waiting", ("anna",), ())


def test_answers_that_say_the_same_agree_and_only_what_two_gave_stands() -> None:
    (one,) = settle(answer("anna", "450 L", "四百五"), answer("ben", "450升", "500升"))
    assert one.state == "agreed"
    assert one.accepted_answers == ("450 L",)
    assert one.answered_by == ("anna", "ben")


def test_different_answers_are_disputed() -> None:
    (one,) = settle(answer("anna", "450 L"), answer("ben", "500 L"))
    assert (one.state, one.disputes) == ("disputed", ("answers",))


def test_of_three_people_one_alone_makes_a_dispute() -> None:
    (one,) = settle(answer("anna", "1"), answer("ben", "1"), answer("cem", "2"), per_question=3)
    assert one.disputes == ("answers",)
    (all_in,) = settle(answer("anna", "1", "2"), answer("ben", "1"), answer("cem", "2"), per_question=3)
    assert (all_in.state, all_in.accepted_answers) == ("agreed", ("1", "2"))


def test_relevant_passages_that_overlap_too_little_are_disputed() -> None:
    (far,) = settle(answer("a", "1", grades={"p1": 3, "p2": 1}), answer("b", "1", grades={"p1": 1, "p2": 2}))
    assert (far.state, far.disputes, far.passage_overlap) == ("disputed", ("passages",), 0.0)
    (near,) = settle(answer("a", "1", grades={"p1": 3, "p2": 2}), answer("b", "1", grades={"p1": 2, "p3": 0}))
    assert near.state == "agreed"
    assert near.passage_overlap == pytest.approx(2 / 3)
    assert near.relevant == (("p1", 2),)


def test_a_question_without_any_passage_named_can_agree() -> None:
    (one,) = settle(answer("a", "1"), answer("b", "1", grades={"p1": 0}))
    assert (one.state, one.passage_overlap, one.relevant) == ("agreed", None, ())


@pytest.mark.parametrize(
    ("second", "dispute"),
    [({"unanswerable": True}, "answerable"), ({"discard": True, "comment": "?"}, "discard")],
)
def test_people_who_differ_about_what_it_is_are_disputed(second: dict[str, Any], dispute: str) -> None:
    (one,) = settle(answer("anna", "1"), answer("ben", **second))
    assert (one.state, one.disputes) == ("disputed", (dispute,))


def test_unanswerable_and_discard_can_be_agreed() -> None:
    (one,) = settle(answer("anna", unanswerable=True), answer("ben", unanswerable=True))
    assert (one.state, one.unanswerable, one.accepted_answers) == ("agreed", True, ())
    (one,) = settle(answer("anna", discard=True), answer("ben", discard=True))
    assert one.state == "discarded"


def test_a_third_person_settles_a_dispute_and_nothing_else() -> None:
    disputed = (answer("anna", "450"), answer("ben", "500"))
    third = answer("cem", "500", role="resolver", grades={"p1": 3, "p2": 1})
    (one,) = settle(*disputed, third)
    assert (one.state, one.accepted_answers, one.relevant) == ("resolved", ("500",), (("p1", 3),))
    assert (one.answered_by, one.resolved_by, one.disputes) == (("anna", "ben"), "cem", ("answers",))
    (agreed,) = settle(answer("anna", "450"), answer("ben", "450"), third)
    assert (agreed.state, agreed.accepted_answers, agreed.resolved_by) == ("agreed", ("450",), None)
    (own,) = settle(*disputed, answer("ben", "500", role="resolver"))
    assert own.state == "disputed"


def test_agreement_is_told_per_stratum_from_the_answers_before_any_resolution() -> None:
    answers = [answer("anna", "1", question=f"q{n}", grades={"p1": 3, "p2": 0}) for n in range(1, 5)]
    answers += [answer("ben", "1" if n > 1 else "9", question=f"q{n}", grades={"p1": 3, "p2": 0}) for n in range(1, 5)]
    answers += [answer("cem", "9", question="q1", role="resolver")]
    settled = settle(*answers, questions=5)
    (told,) = consensus.accord(settled, GoldAnswer.table(answers))
    assert (told.stratum, told.questions, told.answers, told.passages, told.alpha) == ("numeric", 4, 0.75, 1.0, 1.0)
    assert told.interval == pytest.approx((0.3006, 0.9544), abs=1e-4)  # Wilson's, of 3 in 4


def entry(question: str, **more: Any) -> dict[str, Any]:
    return {
        "question_id": question,
        "text": f"text {question}",
        "accepted_answers": ["1"],
        "stratum": "numeric",
        "relevant_passage_ids": [],
        "unanswerable": False,
        "answered_by": ["anna", "ben"],
        "source": "draft d",
        "added_version": 1,
        "added_at": AT,
    } | more


def frame(*rows: dict[str, Any]) -> pl.DataFrame:
    return pl.DataFrame(pl.from_arrow(GoldEntry.table(rows)))


def test_a_version_holds_the_one_before_unchanged_and_the_new() -> None:
    before = frame(entry("q2"), entry("q1"))
    later = datetime(2026, 4, 1, tzinfo=UTC)
    made = freezing.next_version(before, frame(entry("q3")), {"q1": "the car is gone"}, version=2, at=later)
    GoldEntry.conform(made.to_arrow())
    assert made["question_id"].to_list() == ["q2", "q1", "q3"]
    untouched = [name for name in before.columns if not name.startswith("retired")]
    assert made.head(2).select(untouched).equals(before.select(untouched))
    assert made["retired_version"].to_list() == [None, 2, None]
    assert made["retired_reason"].to_list() == [None, "the car is gone", None]
    assert made["added_version"].to_list() == [1, 1, 2]
    assert made["added_at"].to_list() == [AT, AT, later]
    again = freezing.next_version(made, frame(entry("q4")), {"q2": "twice"}, version=3, at=later)
    assert again["retired_version"].to_list() == [3, 2, None, None]


@pytest.mark.parametrize(
    ("retire", "words"),
    [({"q9": "gone"}, "q9 cannot be retired"), ({"q1": " "}, "q1 is retired without a reason")],
)
def test_a_question_is_retired_once_with_a_reason(retire: dict[str, str], words: str) -> None:
    with pytest.raises(InputError, match=words):
        freezing.next_version(frame(entry("q1")), frame(), retire, version=2, at=AT)


def test_what_is_frozen_is_not_offered_again_and_never_changes() -> None:
    before = frame(entry("q1"), entry("q2"))
    assert freezing.fresh(before, frame(entry("q2", source="draft e"), entry("q3")))["question_id"].to_list() == ["q3"]
    with pytest.raises(InputError, match="question q1 is frozen with another accepted_answers, and 0 more differ"):
        freezing.fresh(before, frame(entry("q1", accepted_answers=["2"])))


def texts(**found: str) -> pl.DataFrame:
    return pl.DataFrame(
        {"id": list(found), "normal": list(found.values())}, schema={"id": pl.String, "normal": pl.String}
    )


def test_a_fact_is_not_asked_twice() -> None:
    asked = texts(g1="后备箱的容积是多少升呢")
    for new in (
        texts(n1="后备箱的容积是多少升"),
        texts(n1="后备箱的容积是多少升呢"),
        texts(n1="如何打开天窗呀", n2="如何打开天窗呀"),
    ):
        with pytest.raises(InputError, match=r"^1 pair\(s\) of gold questions nearly equal one another"):
            freezing.refuse_near_duplicates(asked, new, threshold=0.85)
    freezing.refuse_near_duplicates(asked, texts(n1="X5胎压是多少", n2="X7胎压是多少"), threshold=0.85)


def test_judged_queries_near_a_new_question_are_found_with_it() -> None:
    judged = texts(j1="后备箱的容积是多少升呢", j2="天窗怎么开", j3="a")
    found = freezing.leaks(texts(g1="后备箱的容积是多少升", g2="a"), judged, threshold=0.8)
    assert found.rows() == [("j1", "g1"), ("j3", "g2")]


def test_questions_needed_are_those_of_the_published_formula() -> None:
    assumed = {"alpha": 0.05, "power": 0.8}
    assert round(freezing.questions_needed(0.01, discordance=0.05, **assumed)) == 3091
    assert round(freezing.questions_needed(0.02, discordance=0.10, **assumed)) == 1546
    assert freezing.noticeable(1546, discordance=0.10, **assumed) == pytest.approx(0.02, abs=1e-4)
    assert freezing.noticeable(0, discordance=0.10, **assumed) == float("inf")


def test_an_export_leaves_out_the_retired_and_reads_as_a_gold_file() -> None:
    rows = freezing.export(frame(entry("q1"), entry("q2", retired_version=2, retired_reason="gone")))
    assert [row["question_id"] for row in rows] == ["q1"]
    assert str(rows[0]["added_at"]).startswith("2026-03-01T00:00:00")


def test_alpha_needs_passages_that_two_graded() -> None:
    answers = [answer("anna", "1", grades={"p1": 3}), answer("ben", "1")]
    (told,) = consensus.accord(settle(*answers), GoldAnswer.table(answers))
    assert told.alpha is None
