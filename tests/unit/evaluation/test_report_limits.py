"""The report at its limits: hostile text, what was not measured, and a thousand questions."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
from report_pages import (
    GOLD,
    HISTORY,
    LADDER,
    OUTCOMES,
    PASSAGES,
    of_class,
    page,
    parsed,
    system,
    texts,
    words,
)

from rerankops.evaluation.report import SHOWN
from rerankops.records import GoldQuestion, Passage, PromotionDecision, QuestionOutcome, Rule

HOSTILE = (
    "</style></svg><script>alert(1)</script><img src=x onerror=alert(2)>\" autofocus='x {{ 7 * 7 }} &lt; \u202e\x00\x1b"
)


def test_hostile_text_is_text_wherever_it_comes_from() -> None:
    gold = GoldQuestion.table(
        {**row, "text": HOSTILE, "accepted_answers": [HOSTILE], "stratum": HOSTILE} for row in GOLD.to_pylist()
    )
    passages = Passage.table({**row, "title": HOSTILE, "text": HOSTILE} for row in PASSAGES.to_pylist())
    tables = {
        name: QuestionOutcome.table({**row, "answer": HOSTILE, "stratum": HOSTILE} for row in table.to_pylist())
        for name, table in OUTCOMES.items()
    }
    ladder = copy.deepcopy(LADDER)
    for row in ladder["systems"]:
        row["strata"] = {HOSTILE: row["strata"]["numeric"]}
    ladder["stages"] = [{"name": HOSTILE, "seconds": 1.0, "counts": {HOSTILE: 1, "said": HOSTILE}}]
    rules = (
        Rule(f"challenger: stratum {HOSTILE}", -0.03, 0.1, (0.0, 0.2), True, HOSTILE, "passed"),
        Rule(HOSTILE, 0.0, 0.1, (0.0, 0.2), False, HOSTILE, "failed"),
    )
    history = [{**HISTORY[0], "system": HOSTILE, "version": HOSTILE, "run_id": HOSTILE, "at": HOSTILE}]
    text = page(
        ladder,
        PromotionDecision(False, None, rules, (HOSTILE,)),
        outcomes=tables,
        gold=gold,
        passages=passages,
        title=HOSTILE,
        lineage={HOSTILE: HOSTILE},
        settings={HOSTILE: {HOSTILE: HOSTILE}},
        history=history,
    )
    root = parsed(text)
    assert not {element.tag for element in root.iter()} & {"script", "img"}
    assert not {name for element in root.iter() for name in element.attrib} & {"onerror", "autofocus", "src"}
    assert "\x00" not in text
    assert "\x1b" not in text
    told = texts(root)
    assert told.count("<script>alert(1)</script>") > 20
    assert "{{ 7 * 7 }} &lt;" in told, "neither run as a template nor unescaped twice"
    assert all(element.get("dir") == "auto" for element in root.iter() if element.get("class") in ("q", "title"))


# -- what was not measured -------------------------------------------------------------------------------------------


def paths(value: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a row of the ladder whose value may be null."""
    if isinstance(value, dict):
        for key, below in value.items():
            yield (*above, key)
            yield from paths(below, (*above, key))


NULLABLE = [
    path for path in paths(LADDER["systems"][0]) if path[0] not in ("name", "n") and path[-1] not in ("from", "to")
]


@pytest.mark.parametrize("path", NULLABLE, ids=".".join)
def test_a_null_or_a_missing_key_is_left_out_not_raised(path: tuple[str, ...]) -> None:
    for drop in (False, True):
        ladder = copy.deepcopy(LADDER)
        for row in ladder["systems"]:
            place = row
            for key in path[:-1]:
                place = place[key]
            if drop:
                del place[path[-1]]
            else:
                place[path[-1]] = None
        told = words(parsed(page(ladder)))
        assert "None" not in told
        assert " nan" not in told


def test_an_early_ladder_without_the_newer_keys_says_what_was_not_measured() -> None:
    kept = ("name", "n", "missing", "accuracy", "accuracy_interval", "mrr@10", "ndcg@10", "recall@1")
    ladder = {
        "systems": [
            {key: row[key] for key in kept} | {"strata": {"numeric": {"n": 2, "accuracy": 0.5}}}
            for row in LADDER["systems"]
        ],
        "comparisons": LADDER["comparisons"],
    }
    told = words(parsed(page(ladder, PromotionDecision(False, None, (), ()), lineage={}, settings=None)))
    for expected in (
        "No reason was given.",
        "No rules were recorded with this decision.",
        "Classification, calibration and score distributions were not measured.",
        "Refusals of unanswerable questions were not measured.",
        "No lineage was recorded.",
    ):
        assert expected in told, expected
    assert "Where the time of an answer goes" not in told


def test_one_system_alone_still_makes_a_page() -> None:
    alone = {"retrieval_only": OUTCOMES["retrieval_only"]}
    ladder = {"systems": LADDER["systems"][:1], "comparisons": []}
    told = words(parsed(page(ladder, PromotionDecision(False, None, (), ()), outcomes=alone)))
    assert "There is nothing to compare with." in told
    nothing = words(
        parsed(page({"systems": [], "comparisons": []}, PromotionDecision(False, None, (), ()), outcomes={}))
    )
    assert "Nothing changes in production." in nothing


def test_outcomes_of_an_earlier_schema_are_read() -> None:
    old = {
        name: table.drop_columns(
            ["refused", "judged_by", "hit@1", "hit@6", "hit@30", "average_precision", "ndcg_exp@10"]
        )
        for name, table in OUTCOMES.items()
    }
    assert len(of_class(parsed(page(outcomes=old)), "card")) == 2


# -- how large -------------------------------------------------------------------------------------------------------


def test_a_thousand_questions_on_five_systems_stay_below_a_megabyte_and_a_half() -> None:
    names = ("retrieval_only", "tuned_fusion", "base", "champion", "challenger")
    count, long = 1000, "<&长安汽车的说明书>" * 300
    passages = Passage.table(
        {"passage_id": f"p{place}", "title": long, "text": f"{long} {place} {long}", "metadata": {}}
        for place in range(2 * count)
    )
    gold = GoldQuestion.table(
        {
            "question_id": f"q{place}",
            "text": f"{place} {long}",
            "accepted_answers": [str(place), long],
            "stratum": f"stratum {place % 12}",
            "relevant_passage_ids": [f"p{place}"],
            "relevant_grades": None,
        }
        for place in range(count)
    )
    strata = gold["stratum"].to_pylist()
    template = OUTCOMES["challenger"].to_pylist()[0]
    tables = {
        name: QuestionOutcome.table(
            {
                **template,
                "system": name,
                "question_id": f"q{place}",
                "stratum": strata[place],
                "answer": long,
                "correct": (place // 2 ** names.index(name)) % 2 == 0,
                "top_passage_ids": [
                    f"p{(place + shift * (1 + names.index(name))) % (2 * count)}" for shift in range(6)
                ],
            }
            for place in range(count)
        )
        for name in names
    }
    ladder = {**LADDER, "systems": [system(name, 0.5) for name in names]}
    history = [{**HISTORY[0], "at": f"20{place:02d}-01-01T00:00:00+00:00"} for place in range(99)]
    text = page(ladder, outcomes=tables, gold=gold, passages=passages, history=history)
    cards = of_class(parsed(text), "card")
    assert len(cards) == 4 * 2 * SHOWN
    assert len(text.encode()) < 1_500_000
