"""Questions won and lost in the report: which passage decided, which are shown, how they are chosen."""

from __future__ import annotations

import copy

import pyarrow as pa
from report_pages import GOLD, LADDER, OUTCOMES, PASSAGES, of_class, outcomes, page, parsed, words

from rerankops.evaluation.report import SHOWN, duel
from rerankops.records import GoldQuestion, QuestionOutcome


def test_a_question_shows_both_answers_both_ranks_and_the_accepted_answer_marked() -> None:
    cards = of_class(parsed(page()), "card")
    lost, won = cards
    assert words(won).startswith("后备箱容积多少 numeric Accepted 450L challenger ✓ right judged by llm")
    assert "Made the difference challenger: rank 1 · retrieval_only: rank 2 (rose by 1)" in words(won)
    assert "Says what retrieval_only answered challenger: rank 2 · retrieval_only: rank 1 (fell by 1)" in words(won)
    assert [words(mark) for mark in won.iter("mark")] == ["450升"], "found although it is written otherwise"
    assert words(lost).startswith("怎么关闭ESP procedure Accepted 长按<ESP OFF>键 challenger ✗ wrong")
    assert [words(mark) for mark in lost.iter("mark")] == ["长按<ESP OFF>键"]
    assert "On top in challenger challenger: rank 1 · retrieval_only: rank 2" in words(lost)


def test_a_passage_that_entered_or_left_what_the_reader_sees_says_so_with_its_rank() -> None:
    tables = {
        "retrieval_only": outcomes("retrieval_only", q1=("e3 oil", False, "?"), q3=("oil e3", True, "4.5升")),
        "challenger": outcomes("challenger", q1=("s5 e3", True, "450升"), q3=("e3 s5", False, "?")),
    }
    told = duel("challenger", "retrieval_only", tables, GOLD, PASSAGES)
    won, lost = told.won[0].deciding, told.lost[0].deciding
    assert won is not None
    assert lost is not None
    assert (won.places, won.moved) == ((1, None), "entered the first 2 that challenger's reader sees")
    assert (lost.places, lost.moved) == ((None, 1), "left the first 2 that challenger's reader sees")
    assert (told.level, told.unknown) == (0, 0)
    order = pa.table({"query_id": ["q1"] * 3, "passage_id": ["e3", "oil", "s5"], "rank": [1, 2, 14]})
    known = duel("challenger", "retrieval_only", tables, GOLD, PASSAGES, orders={"retrieval_only": order}).won[0]
    assert known.deciding is not None
    assert known.deciding.places == (1, 14)


def test_the_clearest_come_first_and_the_rest_is_counted() -> None:
    many = [f"n{place}" for place in range(SHOWN + 5)]
    gold = GoldQuestion.table({**GOLD.to_pylist()[0], "question_id": name, "text": name} for name in many)
    tables = {}
    for name, order, correct in (("retrieval_only", "e3 s5", False), ("challenger", "s5 e3", True)):
        row = outcomes(name, q1=(order, correct, "?")).to_pylist()[0]
        tables[name] = QuestionOutcome.table({**row, "question_id": question} for question in many)
    far = tables["retrieval_only"].to_pylist()
    far[-1]["top_passage_ids"] = ["e3", "oil"]  # s5 is not even read: the clearest of all
    tables["retrieval_only"] = QuestionOutcome.table(far)
    root = parsed(page(outcomes=tables, gold=gold))
    assert f"Won: {SHOWN + 5} ({SHOWN} shown, 5 more)" in words(root)
    shown = of_class(root, "card")
    assert len(shown) == SHOWN
    assert words(shown[0]).startswith(many[-1])


def test_questions_can_be_chosen_without_script_and_none_is_left_out_of_the_page() -> None:
    root = parsed(page())
    chosen = {box.get("id") for box in root.iter("input") if "checked" in box.attrib}
    assert chosen == {"st0", "both"}, "everything is shown until somebody chooses"
    style = "".join(style.text or "" for style in root.iter("style"))
    strata = [box.get("id") for box in root.iter("input") if box.get("name") == "stratum"][1:]
    assert strata == ["st1", "st2"]
    for choice in strata:
        assert f"#questions:has(#{choice}:checked) .card:not(.{choice}) {{ display: none; }}" in style
        assert of_class(root, choice), "the class that the rule keeps is on a card"


def test_where_no_answer_has_a_verdict_ranks_decide() -> None:
    without = {
        name: QuestionOutcome.table([{**row, "correct": None} for row in table.to_pylist()])
        for name, table in OUTCOMES.items()
    }
    ladder = copy.deepcopy(LADDER)
    for row in ladder["systems"]:
        row["accuracy"] = row["accuracy_interval"] = None
    told = words(parsed(page(ladder, outcomes=without)))
    assert "Hit@1 of challenger 75.0 %" in told
    assert "ranks better than retrieval_only does, by hit@1" in told


def test_a_page_says_how_many_questions_are_held_back_and_why() -> None:
    told = words(parsed(page(held_back=9)))
    assert (
        "Only 4 of the 13 gold questions are shown one by one. How systems did on each of the other 9 is held back"
        in told
    )
    assert "came out alike, of the 4 shown" in told
    assert "held back" not in words(parsed(page()))


def test_a_page_may_show_no_question_at_all() -> None:
    nothing = {name: table.slice(0, 0) for name, table in OUTCOMES.items()}
    root = parsed(page(outcomes=nothing, held_back=4))
    assert "None of the 4 gold questions are shown one by one" in words(root)
    assert not of_class(root, "card")
    assert "won and lost" not in words(root)
