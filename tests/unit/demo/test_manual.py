"""The manual as written and as printed."""

from __future__ import annotations

import re

import pytest

from rerankops.demo.forms import Fact, Topic
from rerankops.demo.likeness import bigrams, plain
from rerankops.demo.lineup import MODELS
from rerankops.demo.manual import TOPICS
from rerankops.demo.world import World

FACTS = [(topic, fact) for topic in TOPICS for fact in topic.facts]


def names(topic: Topic, fact: Fact) -> str:
    return f"{topic.key}.{fact.key}"


def test_the_line_up_has_five_models_or_more_with_two_or_three_trims_each():
    assert len(MODELS) >= 5
    assert all(2 <= len(model.trims) <= 3 for model in MODELS)
    assert len({model.name for model in MODELS}) == len({model.code for model in MODELS}) == len(MODELS)


def test_there_are_forty_five_topics_or_more_and_no_key_twice():
    assert len(TOPICS) >= 45
    assert len({topic.key for topic in TOPICS}) == len(TOPICS)


@pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: topic.key)
def test_a_topic_has_four_hand_written_variants_that_differ(topic: Topic):
    assert len(topic.passages) >= 4
    for i, one in enumerate(topic.passages):
        for other in topic.passages[:i]:
            shared = bigrams(one) & bigrams(other)
            assert len(shared) / len(bigrams(one) | bigrams(other)) < 0.6


@pytest.mark.parametrize(("topic", "fact"), FACTS, ids=[names(*pair) for pair in FACTS])
def test_a_fact_has_three_gold_and_five_log_wordings_that_name_the_car(topic: Topic, fact: Fact):
    assert len(set(fact.gold)) >= 3
    assert len(set(fact.log)) >= 5
    assert all(wording.count("{car}") == 1 for wording in (*fact.gold, *fact.log))


def test_no_gold_wording_is_used_in_the_log_even_roughly():
    log = [bigrams(wording.replace("{car}", "")) for _, fact in FACTS for wording in fact.log]
    for topic, fact in FACTS:
        for wording in fact.gold:
            asked = bigrams(wording.replace("{car}", ""))
            closest = max(len(asked & said) / len(asked | said) for said in log)
            assert closest < 0.8, (names(topic, fact), wording)


def test_no_wording_serves_two_facts():
    gold = [plain(wording) for _, fact in FACTS for wording in fact.gold]
    log = [plain(wording) for _, fact in FACTS for wording in fact.log]
    assert len(set(gold)) == len(gold)
    assert len(set(log)) == len(log)


def test_companions_hint_only_at_facts_their_topic_has():
    for topic in TOPICS:
        assert set(topic.hints) <= {fact.key for fact in topic.facts}
        assert bool(topic.hints) <= bool(topic.companions)


def test_a_passage_is_sixty_to_three_hundred_and_fifty_characters_without_leftover_slots(full: World):
    for row in full.passages.to_pylist():
        assert 60 <= len(row["text"]) <= 350, row["passage_id"]
        assert not re.search(r"[{}]", row["text"] + row["title"])


def test_no_two_passages_read_the_same(full: World):
    texts = full.passages["text"].to_pylist()
    assert len(set(texts)) == len(texts)


def test_every_passage_says_which_car_it_is_for_and_that_it_is_simulated(full: World):
    cars = {model.name: {*model.trims, "all"} for model in MODELS}
    for row in full.passages.to_pylist():
        metadata = dict(row["metadata"])
        assert metadata["simulated"] == "true"
        assert metadata["trim"] in cars[metadata["model"]]
        assert metadata["section"]
        assert metadata["topic"]
        assert metadata["model"] in row["title"]


def test_only_some_passages_repeat_the_cars_name(full: World):
    rows = full.passages.to_pylist()
    share = sum(dict(row["metadata"])["model"] in row["text"] for row in rows) / len(rows)
    assert 0.15 < share < 0.75


def test_no_passage_for_an_electric_car_speaks_of_its_engine_oil(full: World):
    topics = {(dict(row["metadata"])["model"], dict(row["metadata"])["topic"]) for row in full.passages.to_pylist()}
    assert ("星禾N21", "range") in topics
    assert ("星禾N21", "oil") not in topics
    assert ("峦途G32", "charge_time") not in topics
