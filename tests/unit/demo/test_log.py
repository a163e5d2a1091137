"""The query log: its mess, its personal data, its drift."""

from __future__ import annotations

import json
import re
import unicodedata
from collections import Counter
from datetime import datetime, timedelta

import pytest

from rerankops.demo import personal
from rerankops.demo.likeness import plain
from rerankops.demo.log import BEGIN, DAYS
from rerankops.demo.phrasing import HOMOPHONES
from rerankops.demo.world import World

LOOKS = {
    "mobile": r"(\+86 )?1\d{2}[ -]?\d{4}[ -]?\d{4}",
    "landline": r"\(?0\d{2,3}\)?-?\d{7,8}",
    "plate": r"[\u4e00-\u9fff][A-G][· .]?[A-Z0-9]{5,6}",
    "vin": r"(?i)[A-HJ-NPR-Z0-9]{17}",
    "name": r"[\u4e00-\u9fff]{2,5}",
    "email": r"[\w.]+@[\w.]+",
    "id_card": r"\d{17}[\dX]",
}


def texts(world: World) -> list[str]:
    return [event["text"] for event in world.events]


def halves(world: World) -> tuple[list[int], list[int]]:
    middle = BEGIN + timedelta(days=DAYS // 2)
    early = [i for i, event in enumerate(world.events) if datetime.fromisoformat(event["issued_at"]) < middle]
    return early, list(range(len(early), len(world.events)))


def test_events_are_json_in_order_of_time_within_four_weeks(full: World):
    times = [datetime.fromisoformat(event["issued_at"]) for event in full.events]
    assert times == sorted(times)
    assert times[0] >= BEGIN
    assert times[-1] < BEGIN + timedelta(days=DAYS)
    assert all(moment.utcoffset() == timedelta(0) for moment in times)
    assert json.loads(json.dumps(full.events)) == full.events
    assert {event["source"] for event in full.events} == {"demo-log"}


def test_every_event_has_one_row_of_hidden_truth(small: World):
    assert small.intents["event_id"].to_pylist() == [event["event_id"] for event in small.events]
    for intent_id, stratum in zip(
        small.intents["intent_id"].to_pylist(), small.intents["stratum"].to_pylist(), strict=True
    ):
        assert (intent_id is None) == (stratum is None)


def test_strata_have_realistic_shares(full: World):
    strata = Counter(full.intents["stratum"].drop_null().to_pylist())
    total = strata.total()
    assert strata["numeric"] / total == pytest.approx(0.45, abs=0.04)
    assert strata["procedure"] / total == pytest.approx(0.35, abs=0.04)
    assert strata["summary"] / total == pytest.approx(0.20, abs=0.04)


def test_queries_repeat_and_a_few_intents_make_up_much_of_the_log(full: World):
    said = Counter(plain(text) for text in texts(full))
    assert sum(count for count in said.values() if count > 1) / len(full.events) > 0.2
    asked = Counter(full.intents["intent_id"].drop_null().to_pylist())
    top = sum(count for _, count in asked.most_common(len(asked) // 10))
    assert 0.25 < top / asked.total() < 0.7


def test_the_mess_of_real_logs_is_there(full: World):
    log = texts(full)
    assert any(text == "" for text in log)
    assert any(len(text) == 1 for text in log)
    assert any(re.fullmatch(r"[\W_]+", text) for text in log)
    assert any(any(unicodedata.category(c) == "So" for c in text) for text in log)
    assert any(re.search(r"[Ａ-Ｚａ-ｚ０-９]", text) for text in log)
    assert any(re.search(r"turn o|open|bluetooth|reset|where|fold", text) for text in log)
    wrong = [slip for _, slip in HOMOPHONES if slip not in ("那里", "起动", "溯源", "七月")]
    assert sum(any(slip in text for slip in wrong) for text in log) > 40


def test_every_kind_of_personal_data_is_planted_and_stands_in_the_text(full: World):
    by_id = {event["event_id"]: event["text"] for event in full.events}
    kinds = Counter()
    for row in full.personal.to_pylist():
        assert row["value"] in by_id[row["event_id"]]
        assert re.fullmatch(LOOKS[row["kind"]], row["value"]), row
        kinds[row["kind"]] += 1
    assert set(kinds) == set(personal.KINDS)
    assert min(kinds.values()) >= 5


def test_planted_plates_are_both_ordinary_and_new_energy(full: World):
    plates = [row["value"] for row in full.personal.to_pylist() if row["kind"] == "plate"]
    lengths = {len(re.sub(r"[· .]", "", plate)) for plate in plates}
    assert lengths == {7, 8}


def test_users_open_only_what_they_were_shown(small: World):
    passages = set(small.passages["passage_id"].to_pylist())
    for event in small.events:
        assert set(event["clicked_passage_ids"]) <= set(event["shown_passage_ids"]) <= passages
        assert event["feedback"] in ("none", "up", "down")
    assert {event["feedback"] for event in small.events} == {"none", "up", "down"}


def test_the_second_fortnight_brings_new_topics_a_new_model_and_new_wordings(full: World):
    early, late = halves(full)
    intents = full.intents["intent_id"].to_pylist()
    before = {intents[i] for i in early} - {None}
    after = {intents[i] for i in late} - {None}
    assert len(after - before) > 30
    assert len(after & before) > 100
    new_topics = {i.split(".")[0] for i in after} - {i.split(".")[0] for i in before}
    assert {"modes", "seat_heat", "winter"} <= new_topics
    assert not any("@n21" in i for i in before)
    assert any("@n21" in i for i in after)
    late_wordings = {
        wording.replace("{car}", "") for i in after & before for wording in full.truth.intents[i].fact.log[-2:]
    }
    log = texts(full)
    heard_early = sum(any(wording in log[i] for wording in late_wordings) for i in early)
    heard_late = sum(any(wording in log[i] for wording in late_wordings) for i in late)
    assert heard_early == 0
    assert heard_late > 100
