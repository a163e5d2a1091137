"""The quarantine: what is in it, what a decision does, and that nothing of it is ever lost."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from quarantined_deliveries import EACH, QUERIES, Place

from rerankops.errors import ArtefactMissing, InputError
from rerankops.pipeline import adjudication, quarantine
from rerankops.pipeline.quarantine import DecisionRefused
from rerankops.records import Annotation, GoldQuestion, Judgment
from rerankops.workspace import Address, Workspace

ROWS = QUERIES * EACH


@pytest.fixture(scope="module")
def one_waits(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A place with one delivery in quarantine, one.jsonl; for copying."""
    place = Place(tmp_path_factory.mktemp("waiting")).begin()
    place.incomplete()
    return place


@pytest.fixture
def place(one_waits: Place, tmp_path: Path) -> Place:
    return one_waits.copied(tmp_path)


@pytest.fixture
def delivery(place: Place) -> Address:
    (entry,) = quarantine.quarantined(context=place.context)
    return str(entry.delivery)


@pytest.fixture
def fresh(tmp_path: Path) -> Place:
    return Place(tmp_path / "fresh").begin()


def decide(place: Place, delivery: Address, decision: str, who: str = "Li Na", **more: Any) -> dict[str, Any]:
    more = {"reason": "read a sample by hand"} | more
    result: dict[str, Any] = quarantine.review_delivery(delivery, decision, who, context=place.context, **more)
    return result


def counted(place: Place) -> int:
    """Annotations that the next adjudication reads."""
    addresses = [place.workspace.require(name, "") for name in place.workspace.refs("annotations")]
    return sum(place.workspace.read(address, Annotation).num_rows for address in addresses)


def statuses(place: Place) -> dict[str, str]:
    return {entry.source: entry.status for entry in quarantine.quarantined(context=place.context)}


def test_an_accepted_delivery_is_not_in_it(fresh: Place) -> None:
    assert quarantine.quarantined(context=fresh.context) == []
    delivery = fresh.whole()
    assert quarantine.quarantined(context=fresh.context) == []
    assert "Nothing was ever quarantined." in quarantine.page(context=fresh.context).read_text(encoding="utf-8")
    with pytest.raises(ArtefactMissing, match=r"\(all.jsonl\) was accepted; there is nothing to decide"):
        quarantine.find(delivery, context=fresh.context)


def test_a_quarantined_delivery_waits_with_its_reasons(place: Place, delivery: Address) -> None:
    (entry,) = quarantine.quarantined(context=place.context)
    assert (entry.delivery, entry.source, entry.batch_id, entry.status) == (delivery, "one.jsonl", "b1", "waiting")
    assert "33.3% of the annotations asked for" in entry.reasons[0]
    assert entry.metrics["completeness"] == pytest.approx(1 / 3)
    assert entry.short == delivery.split("/")[1][:8]
    assert counted(place) == 0


@pytest.mark.parametrize("kind", ["address", "digest", "prefix", "verdict", "verdict prefix", "upper case"])
def test_a_delivery_is_found_by_any_beginning_of_its_name_or_its_verdicts(
    place: Place, delivery: Address, kind: str
) -> None:
    verdict = place.workspace.require(f"verdicts/{delivery.split('/')[1]}", "")
    which = {
        "address": delivery,
        "digest": delivery.split("/")[1],
        "prefix": delivery.split("/")[1][:6],
        "verdict": verdict,
        "verdict prefix": verdict.split("/")[1][:8],
        "upper case": f" {delivery.split('/')[1][:8].upper()} ",
    }[kind]
    assert quarantine.find(which, context=place.context).delivery == delivery


@pytest.mark.parametrize("which", ["", "abc", "../../etc", "xyz12345", "judgments/0000", "deliveries/", "0" * 33])
def test_what_cannot_be_a_name_is_refused_before_anything_is_read(place: Place, delivery: Address, which: str) -> None:
    with pytest.raises(InputError, match=r"names no delivery; give four or more of the characters"):
        quarantine.find(which, context=place.context)


def test_a_name_that_fits_none_or_several_is_refused(
    place: Place, delivery: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    second = place.incomplete("b.jsonl", "ann-2")
    with pytest.raises(ArtefactMissing, match=r"no quarantined delivery is 'verdicts/00000000'"):
        quarantine.find("verdicts/00000000", context=place.context)
    short = re.compile(r"(?:(deliveries|verdicts)/)?([0-9a-f]{0,32})")
    monkeypatch.setattr(quarantine, "_WHICH", short)  # two digests seldom share four characters: ask with none
    with pytest.raises(InputError, match=r"fits 2 quarantined deliveries: .* give more characters") as refused:
        quarantine.find("", context=place.context)
    assert all(address.split("/")[1][:8] in str(refused.value) for address in (delivery, second))


def test_released_rows_are_adjudicated_and_lineage_tells_who_released_them(place: Place, delivery: Address) -> None:
    assert adjudication.adjudicate(context=place.context) is None
    before = datetime.now(UTC)
    done = decide(place, delivery, "release")
    assert (done["changed"], done["decision"], done["delivery"]) == (True, "release", delivery)
    assert (counted(place), statuses(place)) == (ROWS, {"one.jsonl": "released"})
    judgments = adjudication.adjudicate(context=place.context)
    assert place.workspace.read(judgments, Judgment).num_rows == ROWS
    lineage = place.workspace.lineage(judgments)
    tasks = place.workspace.require("batches/b1", "")
    assert {done["record"], delivery, tasks} <= set(lineage)
    record = place.workspace.read_document(done["record"])
    assert {name: record[name] for name in ("who", "reason", "decision", "delivery", "overruled")} == {
        "who": "Li Na",
        "reason": "read a sample by hand",
        "decision": "release",
        "delivery": delivery,
        "overruled": None,
    }
    assert before <= datetime.fromisoformat(record["decided_at"]) <= datetime.now(UTC)


def test_a_rejection_closes_a_delivery_and_nothing_of_it_counts(place: Place, delivery: Address) -> None:
    done = decide(place, delivery, "reject")
    assert (done["changed"], done["annotations"]) == (True, None)
    assert (counted(place), statuses(place)) == (0, {"one.jsonl": "rejected"})
    assert adjudication.adjudicate(context=place.context) is None


@pytest.mark.parametrize("decision", ["release", "reject"])
def test_the_same_decision_again_changes_nothing_whoever_asks(place: Place, delivery: Address, decision: str) -> None:
    first = decide(place, delivery, decision)
    stored = place.stored()
    again = decide(place, delivery, decision, who="Somebody else", reason="another reason")
    assert again == first | {"changed": False}
    assert place.stored() == stored


@pytest.mark.parametrize(("first", "second"), [("release", "reject"), ("reject", "release")])
def test_the_opposite_decision_is_refused_unless_it_overrules(
    place: Place, delivery: Address, first: str, second: str
) -> None:
    decided = decide(place, delivery, first)
    rows = counted(place)
    said = {"release": "released", "reject": "rejected"}[first]
    with pytest.raises(DecisionRefused, match=rf"was {said} by Li Na on .* to {second} it all the same, overrule that"):
        decide(place, delivery, second, who="Wang")
    assert counted(place) == rows
    done = decide(place, delivery, second, who="Wang", overrule=True)
    assert counted(place) == ROWS - rows
    record = place.workspace.read_document(done["record"])
    assert (record["who"], record["overruled"]) == ("Wang", decided["record"])
    assert decided["record"] in place.workspace.lineage(done["record"])


def test_decisions_can_be_overruled_again_and_again_and_all_stay_on_record(place: Place, delivery: Address) -> None:
    records = []
    for decision, rows in [("release", ROWS), ("reject", 0), ("release", ROWS), ("reject", 0)]:
        records.append(decide(place, delivery, decision, overrule=True)["record"])
        assert counted(place) == rows
    assert len(set(records)) == 4
    assert set(records) <= set(place.workspace.lineage(records[-1]))


def test_a_corrected_delivery_of_the_same_batch_supersedes_the_quarantined_one(place: Place, delivery: Address) -> None:
    corrected = place.whole()
    (entry,) = quarantine.quarantined(context=place.context)
    assert (entry.status, entry.superseded_by) == ("superseded", corrected.split("/")[1][:8])
    with pytest.raises(DecisionRefused, match=f"superseded by {entry.superseded_by}, which took its place"):
        decide(place, delivery, "release")
    assert counted(place) == 3 * ROWS
    decide(place, delivery, "release", overrule=True)
    assert counted(place) == 4 * ROWS
    assert statuses(place) == {"one.jsonl": "released"}


def test_a_later_delivery_of_another_batch_supersedes_nothing(place: Place) -> None:
    place.send("b2")
    place.whole("b2.jsonl")
    assert statuses(place) == {"one.jsonl": "waiting"}


def test_both_halves_of_a_batch_can_be_released(place: Place, delivery: Address) -> None:
    other = place.incomplete("two.jsonl", "ann-2")
    decide(place, other, "release")
    assert statuses(place) == {"one.jsonl": "waiting", "two.jsonl": "released"}
    decide(place, delivery, "release")
    assert counted(place) == 2 * ROWS


def test_what_was_superseded_can_still_be_rejected(place: Place, delivery: Address) -> None:
    place.whole()
    decide(place, delivery, "reject")
    assert (statuses(place), counted(place)) == ({"one.jsonl": "rejected"}, 3 * ROWS)


def test_a_delivery_without_a_usable_row_cannot_be_released(fresh: Place) -> None:
    delivery, outcome = fresh.deliver("odd.jsonl", [{"batch_id": "b1", "task_id": "?", "grade": "x"}] * 3)
    assert outcome == "quarantine"
    with pytest.raises(InputError, match=r"no line of odd.jsonl can be used as it is; correct it and deliver it again"):
        decide(fresh, delivery, "release")
    assert (statuses(fresh), fresh.workspace.refs("annotations")) == ({"odd.jsonl": "waiting"}, [])
    decide(fresh, delivery, "reject")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"who": " "}, "who is 0 characters long, expected 1 to 100"),
        ({"who": "x" * 101}, "who is 101 characters long"),
        ({"reason": "\n"}, "reason is 0 characters long, expected 1 to 500"),
        ({"reason": "x" * 501}, "reason is 501 characters long"),
    ],
)
def test_a_decision_needs_somebody_and_a_reason(
    place: Place, delivery: Address, words: dict[str, str], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        decide(place, delivery, "reject", **words)
    assert statuses(place) == {"one.jsonl": "waiting"}


def test_an_unknown_decision_is_refused(place: Place, delivery: Address) -> None:
    with pytest.raises(InputError, match="decision is 'accept', expected one of release, reject"):
        decide(place, delivery, "accept")


def test_a_release_that_was_cut_short_is_completed_by_the_same_command(
    place: Place, delivery: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    point = Workspace.point

    def killed(self: Workspace, name: str, address: Address) -> None:
        if name.startswith("annotations/"):
            raise KeyboardInterrupt
        point(self, name, address)

    with monkeypatch.context() as patch:
        patch.setattr(Workspace, "point", killed)
        with pytest.raises(KeyboardInterrupt):
            decide(place, delivery, "release")
    assert counted(place) == 0
    done = decide(place, delivery, "release", who="The next one")
    assert (done["changed"], counted(place)) == (False, ROWS)
    assert place.workspace.read_document(done["record"])["who"] == "Li Na"


def test_nothing_stored_is_lost_or_changed_by_decisions(place: Place, delivery: Address) -> None:
    stored = place.stored()
    raw = (place.inbox / "one.jsonl").read_bytes()
    decide(place, delivery, "release")
    decide(place, delivery, "reject", overrule=True)
    after = place.stored()
    assert {name: after.get(name) for name in stored} == stored
    assert raw in after.values()


def test_the_page_tells_reasons_and_commands_and_every_link_on_it_can_be_opened(
    place: Place, delivery: Address
) -> None:
    page = quarantine.page(context=place.context)
    text = page.read_text(encoding="utf-8")
    (entry,) = quarantine.quarantined(context=place.context)
    assert entry.reasons[0] in unescape(text)
    for command in ("show", "release", "reject"):
        assert f"rerankops quarantine {command} {delivery.split('/')[1][:8]}" in text
    links = re.findall(r'<a href="([^"]+)">([^<]+)</a>', text)
    assert [name for _, name in links] == ["reasons", "Data Docs", "raw file"]
    for address, _ in links:
        assert (page.parent / unquote(unescape(address))).is_file(), address
    assert "http" not in text
    assert "<script" not in text


def test_text_from_outside_cannot_become_markup_on_the_page(fresh: Place) -> None:
    delivery = fresh.incomplete('"><img src=x onerror=alert(1)>.jsonl')
    decide(fresh, delivery, "reject", who="<b>me</b>", reason="<script>alert(1)</script> & more")
    text = quarantine.page(context=fresh.context).read_text(encoding="utf-8")
    assert not re.search(r"<(img|script|b)\b", text)
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; more" in text


def test_the_page_follows_what_is_decided(place: Place, delivery: Address) -> None:
    assert '<h2 id="waiting">' in quarantine.page(context=place.context).read_text(encoding="utf-8")
    decide(place, delivery, "release")
    page = quarantine.page(context=place.context)
    text = page.read_text(encoding="utf-8")
    assert '<h2 id="released">' in text
    assert '<h2 id="waiting">' not in text
    assert "Li Na" in text
    assert "read a sample by hand" in text
    assert [path.name for path in page.parent.iterdir()] == ["index.html"]


def test_what_has_become_a_gold_question_since_is_not_released(place: Place, delivery: Address) -> None:
    gold = {"question_id": "g2", "text": "后备箱 3 多大", "accepted_answers": ["3"], "stratum": "numeric"}
    questions = GoldQuestion.table([gold | {"relevant_passage_ids": [], "relevant_grades": None}])
    place.workspace.point("gold", place.workspace.publish(GoldQuestion, questions, step="load_gold"))
    done = decide(place, delivery, "release")
    released = place.workspace.read(done["annotations"], Annotation)["task_id"].to_pylist()
    assert len(released) == ROWS - EACH
    assert not [task for task in released if task.startswith("b1-3-")]
