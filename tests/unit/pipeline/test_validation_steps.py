"""validate_delivery and salvage: what is stored of a delivery, whatever is wrong with it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from annotation_damages import CASES, ODD
from annotation_damages.delivery import ACCEPT, BATCH, PART, QUARANTINE, SENT, Row, batch, encoded, returned

from rerankops import config
from rerankops.errors import InputError
from rerankops.pipeline import channels, quarantine
from rerankops.pipeline.context import Context
from rerankops.pipeline.corpus import GOLD
from rerankops.pipeline.validation import ACCEPTED, salvage, validate_delivery
from rerankops.records import Annotation, AnnotationTask, GoldQuestion, Query
from rerankops.workspace import Address, Workspace

SAMPLED = (
    "UTF-16",
    "cut in the middle of a line",
    "a stray byte",
    "markup for an annotator",
    "a careless annotator",
    "task and annotator",
    "an empty file",
    "the file twice",
    "CSV",
)


class Place:
    """A workspace in which batch-1 was sent, and an inbox."""

    def __init__(self, folder: Path, *, last_seen: datetime = SENT) -> None:
        self.inbox = folder / "inbox"
        self.inbox.mkdir()
        settings = config.load(environ={}, overrides={"annotation": {"inbox": str(self.inbox)}})
        self.context = Context(settings, Workspace(folder / "workspace"))
        self.workspace = self.context.workspace
        gold = {"question_id": "g", "text": "天窗怎么关", "accepted_answers": ["按"], "stratum": "procedure"}
        questions = GoldQuestion.table([gold | {"relevant_passage_ids": [], "relevant_grades": None}])
        self.workspace.point(GOLD, self.workspace.publish(GoldQuestion, questions, step="load_gold"))
        seen = {"first_seen": last_seen, "last_seen": last_seen, "frequency": 1, "stratum": "numeric"}
        queries = Query.table([{"query_id": "q", "text": "后备箱"} | seen])
        self.queries = self.workspace.publish(Query, queries, step="sample_queries")
        self.send(BATCH)

    def send(self, name: str) -> None:
        rows = [row | {"batch_id": name, "task_id": f"{name}:{row['task_id']}"} for row in batch().to_pylist()]
        tasks = batch() if name == BATCH else AnnotationTask.table(rows)
        address = self.workspace.publish(
            AnnotationTask, tasks, step="make_annotation_batch", inputs=[self.queries], settings={"batch": name}
        )
        self.workspace.point(f"batches/{name}", address)

    def put(self, content: bytes, name: str = f"{BATCH}.jsonl") -> Address:
        (self.inbox / name).write_bytes(content)
        (delivery,) = channels.pull_deliveries(context=self.context)
        return str(delivery)

    def validate(self, delivery: Address) -> dict[str, Any]:
        verdict: dict[str, Any] = validate_delivery(delivery, context=self.context)
        return verdict

    def folder(self, address: Address) -> Path:
        return Path(self.workspace.root.path) / "objects" / address

    def stored(self) -> dict[str, bytes]:
        root = Path(self.workspace.root.path)
        return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}

    def accepted(self) -> int:
        addresses = [self.workspace.require(name, "") for name in self.workspace.refs(ACCEPTED)]
        return sum(self.workspace.read(address, Annotation).num_rows for address in addresses)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture(scope="module")
def good() -> list[Row]:
    return returned(batch())


@pytest.mark.parametrize("case", [case for case in [*CASES, *ODD] if case.name in SAMPLED], ids=lambda case: case.name)
def test_whatever_came_is_kept_and_judged_once(case, place, good):
    tasks = batch()
    known = dict(zip(tasks["task_id"].to_pylist(), tasks["control_grade"].to_pylist(), strict=True))
    rows = case.control(good, known) if case.control else case.rows(good)
    content = case.content(encoded(rows))
    delivery = place.put(content, case.source)
    verdict = place.validate(delivery)
    assert verdict["outcome"] == case.outcome
    assert any(path.read_bytes() == content for path in place.folder(delivery).iterdir())
    folder = place.folder(verdict["verdict"])
    assert Path(verdict["data_docs"]).read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert pq.read_table(folder / "set_aside.parquet").num_rows == verdict["set_aside"]
    assert json.loads((folder / "validation.json").read_text())["reasons"] == verdict["reasons"]
    if case.outcome == QUARANTINE:
        assert any(path.read_bytes() == content for path in folder.iterdir() if path.is_file())
        assert place.accepted() == 0
    else:
        repeated = place.workspace.manifest(verdict["verdict"]).counts["repeated_lines"]
        assert place.accepted() + verdict["set_aside"] + repeated == len(rows)
    before = place.stored()
    assert place.validate(delivery) == verdict
    assert place.stored() == before
    assert channels.pull_deliveries(context=place.context) == []


def test_lines_set_aside_are_listed_with_their_reasons(place, good):
    rows = [{**row, "grade": 7} if n == 4 else row for n, row in enumerate(good)]
    verdict = place.validate(place.put(encoded(rows)))
    assert verdict["outcome"] == PART
    (aside,) = pq.read_table(place.folder(verdict["verdict"]) / "set_aside.parquet").to_pylist()
    assert (aside["line"], aside["task_id"], aside["annotator_id"]) == (5, rows[4]["task_id"], "ann-2")
    assert aside["reason"] == "it has grade '7', which is unknown; grade with one of 0, 1, 2, 3"
    (address,) = (place.workspace.require(name, "") for name in place.workspace.refs(ACCEPTED))
    published = place.workspace.read(address, Annotation)
    pairs = set(zip(published["task_id"].to_pylist(), published["annotator_id"].to_pylist(), strict=True))
    assert pairs == {(row["task_id"], row["annotator_id"]) for n, row in enumerate(good) if n != 4}


def test_a_later_batch_is_compared_with_what_was_accepted_of_others(place, good):
    first = place.validate(place.put(encoded(good)))
    place.send("batch-2")
    later = [row | {"batch_id": "batch-2", "task_id": f"batch-2:{row['task_id']}"} for row in good]
    second = place.validate(place.put(encoded(later), "batch-2.jsonl"))
    again = place.validate(place.put(encoded(later) + b"\n", "batch-2-again.jsonl"))
    assert [verdict["outcome"] for verdict in (first, second, again)] == [ACCEPT] * 3
    compared = [
        json.loads((place.folder(verdict["verdict"]) / "validation.json").read_text())["compared_with"]
        for verdict in (first, second, again)
    ]
    assert compared == [[], [first["verdict"]], [first["verdict"]]]
    assert place.workspace.manifest(second["verdict"]).counts["grade_drift"] == 0


def test_grades_from_before_the_last_query_was_asked_are_not_believed(tmp_path, good):
    place = Place(tmp_path, last_seen=SENT + timedelta(days=60))
    verdict = place.validate(place.put(encoded(good)))
    assert verdict["outcome"] == QUARANTINE
    assert any("before the batch was made (2026-06-19T00:00Z)" in reason for reason in verdict["reasons"])


def test_what_can_be_used_of_a_quarantined_delivery_can_be_had(place, good):
    rows = [{**row, "grade": 8} if n < 20 else row for n, row in enumerate(good)]
    delivery = place.put(encoded(rows))
    with pytest.raises(InputError, match="was not validated yet"):
        salvage(place.context, delivery)
    assert place.validate(delivery)["outcome"] == QUARANTINE
    table = salvage(place.context, delivery)
    assert table.schema.equals(Annotation.schema)
    assert table.num_rows == len(good) - 20
    assert place.accepted() == 0


def test_nothing_is_released_that_cannot_be_used_or_was_accepted(place, good):
    rubbish = place.put(b"\0" * 100, "rubbish.jsonl")
    place.validate(rubbish)
    fine = place.put(encoded(good))
    place.validate(fine)
    with pytest.raises(InputError, match=r"no line of rubbish\.jsonl can be used"):
        salvage(place.context, rubbish)
    with pytest.raises(InputError, match=r"batch-1\.jsonl is not in quarantine"):
        salvage(place.context, fine)


def at(moment: datetime, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channels, "now", lambda: moment)


def test_a_delivery_that_was_judged_under_a_slow_clock_is_looked_at_again_when_the_clock_is_right(
    place, good, monkeypatch
):
    at(SENT - timedelta(days=10), monkeypatch)
    delivery = place.put(encoded(good))
    early = place.validate(delivery)
    assert early["outcome"] == QUARANTINE
    assert place.accepted() == 0
    assert channels.pull_deliveries(context=place.context) == []
    at(SENT + timedelta(days=5), monkeypatch)
    assert channels.pull_deliveries(context=place.context) == [delivery]
    verdict = place.validate(delivery)
    assert (verdict["outcome"], place.accepted()) == (ACCEPT, len(good))
    assert verdict["verdict"] != early["verdict"]
    before = place.stored()
    assert place.validate(delivery) == verdict
    assert channels.pull_deliveries(context=place.context) == []
    assert place.stored() == before


def test_moments_that_stay_in_the_future_are_not_looked_at_again_and_again(place, good, monkeypatch):
    at(SENT + timedelta(days=5), monkeypatch)
    rows = [{**row, "annotated_at": "2099-01-01T00:00:00Z"} if n == 4 else row for n, row in enumerate(good)]
    assert place.validate(place.put(encoded(rows)))["outcome"] == PART
    at(SENT + timedelta(days=50), monkeypatch)
    assert channels.pull_deliveries(context=place.context) == []


def test_what_a_person_decided_about_an_early_delivery_stands(place, good, monkeypatch):
    at(SENT - timedelta(days=10), monkeypatch)
    delivery = place.put(encoded(good))
    place.validate(delivery)
    quarantine.review_delivery(delivery, "reject", "Li Na", "made up", context=place.context)
    at(SENT + timedelta(days=5), monkeypatch)
    assert channels.pull_deliveries(context=place.context) == []


def test_the_clock_of_these_deliveries_is_in_the_past():
    assert datetime.now(UTC) > SENT
