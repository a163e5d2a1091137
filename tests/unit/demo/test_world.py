"""The world as a whole: sizes, determinism, gold, hidden truth, controls."""

from __future__ import annotations

from collections import Counter, defaultdict

import numpy as np
import pytest

from rerankops.demo.gold import squeezed
from rerankops.demo.likeness import Likeness
from rerankops.demo.world import World, build, grade, grades
from rerankops.records import GoldQuestion, Passage

WRONG_CAR_EXCEPTIONS = 0.05
"""Share of (gold question, same-topic passage of another car) in which the answer may stand all the same: real cars
share an oil grade or a coolant colour, and so do these."""


def intent_of(world: World) -> dict[str, str]:
    return dict(
        zip(world.gold_intents["question_id"].to_pylist(), world.gold_intents["intent_id"].to_pylist(), strict=True)
    )


def texts_of(world: World) -> dict[str, str]:
    return {row["passage_id"]: squeezed(row["text"]) for row in world.passages.to_pylist()}


def test_the_full_world_is_as_large_as_promised():
    world = build(3, "full")
    assert world.passages.num_rows >= 800
    assert world.gold.num_rows >= 500
    assert len(world.events) >= 3000
    strata = Counter(world.gold["stratum"].to_pylist())
    assert set(strata) == {"numeric", "procedure", "summary"}
    assert min(strata.values()) >= 120
    assert 250 <= len(set(world.intents["intent_id"].drop_null().to_pylist())) <= 400


def test_the_small_world_is_small_but_whole(small: World):
    assert 150 <= small.passages.num_rows <= 260
    assert 80 <= small.gold.num_rows <= 110
    assert 450 <= len(small.events) <= 600
    assert len({dict(row)["model"] for row in small.passages["metadata"].to_pylist()}) >= 3
    assert min(Counter(small.gold["stratum"].to_pylist()).values()) >= 25


def test_tables_conform_to_their_records(small: World):
    assert small.passages.schema == Passage.schema
    assert small.gold.schema == GoldQuestion.schema


def test_the_same_seed_builds_the_same_world_and_another_seed_another(small: World):
    again, other = build(11, "small"), build(12, "small")
    for name in ("passages", "gold", "intents", "controls", "gold_intents", "personal"):
        assert getattr(again, name).equals(getattr(small, name)), name
    assert again.events == small.events
    assert not other.passages.equals(small.passages)
    assert other.events != small.events


def test_an_unknown_size_is_refused_by_name():
    with pytest.raises(ValueError, match="huge"):
        build(1, "huge")  # type: ignore[arg-type]


def test_every_relevant_passage_contains_an_accepted_answer(full: World):
    texts = texts_of(full)
    for question in full.gold.to_pylist():
        answers = [squeezed(answer) for answer in question["accepted_answers"]]
        assert question["relevant_passage_ids"], question["question_id"]
        for passage_id in question["relevant_passage_ids"]:
            assert any(answer in texts[passage_id] for answer in answers), (question["question_id"], passage_id)


def test_the_same_section_of_another_car_seldom_contains_the_answer(full: World):
    texts, intents = texts_of(full), intent_of(full)
    of_topic = defaultdict(list)
    for row in full.passages.to_pylist():
        of_topic[dict(row["metadata"])["topic"]].append(row["passage_id"])
    pairs = wrong = 0
    for question in full.gold.to_pylist():
        answers = [squeezed(answer) for answer in question["accepted_answers"]]
        others = set(of_topic[intents[question["question_id"]].split(".")[0]]) - set(question["relevant_passage_ids"])
        pairs += len(others)
        wrong += sum(any(answer in texts[passage_id] for answer in answers) for passage_id in others)
    assert pairs > 5000
    assert wrong / pairs < WRONG_CAR_EXCEPTIONS


def test_relevant_passages_are_exactly_those_with_grade_three(small: World):
    everything = small.passages["passage_id"].to_pylist()
    intents = intent_of(small)
    for question in small.gold.to_pylist():
        given = grades(small, [intents[question["question_id"]]] * len(everything), everything)
        full_marks = [passage_id for passage_id, g in zip(everything, given, strict=True) if g == 3]
        assert full_marks == question["relevant_passage_ids"]


def test_no_fact_is_asked_twice_in_gold_and_every_question_reads_differently(full: World):
    assert len(set(full.gold["question_id"].to_pylist())) == full.gold.num_rows
    assert len(set(full.gold["text"].to_pylist())) == full.gold.num_rows


def test_every_gold_question_names_its_car(full: World):
    for question_id, text in zip(full.gold["question_id"].to_pylist(), full.gold["text"].to_pylist(), strict=True):
        code = question_id.split("@")[1].split("-")[0].upper()
        assert code in text


def test_no_log_query_nearly_equals_a_gold_question(full: World):
    likeness = Likeness(full.gold["text"].to_pylist())
    assert max(likeness.closest(event["text"]) for event in full.events) < 0.8


def test_grades_follow_the_guideline(small: World):
    def of(intent_id: str, passage_id: str) -> int:
        return grade(small, intent_id, passage_id)

    assert of("boot.vol@g52-t1", "g52-t1-boot") == 3
    assert of("boot.vol@g52-t1", "g52-t2-boot") == 1  # the right model, the wrong version
    assert of("boot.vol@g52-t1", "g32-t1-boot") == 1  # the wrong car
    assert of("boot.vol@g52-t1", "g52-all-boot-more") == 2  # touches the fact, leaves the figure open
    assert of("boot.vol@g52-all", "g52-t2-boot") == 2  # which version was not said
    assert of("boot.vol@any", "g32-t1-boot") == 2  # which car was not said
    assert of("boot.vol@g52-t1", "g52-t1-tailgate") == 1  # the same subject of the same car
    assert of("boot.vol@g52-t1", "g52-t1-oil") == 0
    assert of("boot.vol@g52-t1", "g32-t1-tailgate") == 0
    assert of("esp.off@g52-all", "g52-all-esp") == 3
    assert of("oil.cap@g52-t1", "g52-t1-fluids") == 3  # the table of fluids states it too
    assert of("oil.grade@g52-t1", "g52-t1-fluids") == 0  # but not the grade of the oil


def test_grades_of_many_pairs_equal_grades_one_by_one(small: World):
    rng = np.random.default_rng(0)
    intents = rng.choice(list(small.truth.intents), 200).tolist()
    passages = rng.choice(small.passages["passage_id"].to_pylist(), 200).tolist()
    many = grades(small, intents, passages)
    assert many.tolist() == [grade(small, i, p) for i, p in zip(intents, passages, strict=True)]


def test_an_unknown_passage_is_an_error(small: World):
    with pytest.raises(KeyError):
        grade(small, "boot.vol@g52-t1", "nowhere")


def test_every_question_of_the_log_has_a_passage_worth_showing(full: World):
    for intent_id in set(full.intents["intent_id"].drop_null().to_pylist()):
        assert full.truth.answering(intent_id, 2), intent_id


def test_controls_carry_their_true_grade_and_keep_away_from_gold(full: World):
    controls = full.controls.to_pylist()
    assert len(controls) >= 100
    assert Counter(row["grade"] for row in controls).keys() == {0, 1, 3}
    likeness = Likeness(full.gold["text"].to_pylist())
    for row in controls:
        assert grade(full, row["intent_id"], row["passage_id"]) == row["grade"]
        assert likeness.closest(row["query_text"]) < 0.8
