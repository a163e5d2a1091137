"""Pulling events: what the workspace remembers of it, and what it never sees. Real servers have integration tests."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from rerankops import config
from rerankops.errors import ArtefactDamaged, SettingsError
from rerankops.pipeline.context import Context
from rerankops.pipeline.queries import EVENTS, PULLS, mark_asked, pull_events
from rerankops.records import Query, QueryEvent
from rerankops.workspace import Address, Workspace

DAY = timedelta(days=1)
BEGIN = datetime(2024, 3, 1, tzinfo=UTC)


class Place:
    """A log of one file and a workspace."""

    def __init__(self, folder: Path) -> None:
        self.log = folder / "log.jsonl"
        self.log.touch()
        log = {"location": str(self.log), "lateness_hours": 24, "page_size": 3}
        settings = config.load(environ={}, overrides={"query_log": log})
        self.context = Context(settings, Workspace(folder / "workspace"))
        self.workspace = self.context.workspace

    def add(self, event_id: str, moment: datetime, text: str = "胎压多少", **more: Any) -> None:
        row = {"event_id": event_id, "text": text, "issued_at": moment.isoformat(), **more}
        with self.log.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")

    def pull(self, **window: str) -> Address | None:
        address: Address | None = pull_events(context=self.context, **window)
        return address

    def pulled(self, **window: str) -> list[str]:
        events = self.pull(**window)
        return self.workspace.read(events, QueryEvent)["event_id"].to_pylist() if events else []

    def deal_with(self) -> Address:
        """A pull whose batch is out."""
        events = self.pull()
        assert events
        self.mark(events)
        return events

    def mark(self, events: Address) -> None:
        queries = self.workspace.publish(Query, Query.empty(), step="distil_queries", inputs=[events])
        mark_asked(self.context, self.workspace.publish(Query, Query.empty(), step="sample_queries", inputs=[queries]))


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_no_personal_data_are_stored_whatever_page_they_are_on(place: Place, tmp_path: Path) -> None:
    for number in range(10):
        place.add(f"e{number}", BEGIN + number * DAY, f"打13812345{number:03}给我")
    events = place.pull()
    assert events
    table = place.workspace.read(events, QueryEvent)
    assert set(table["text"].to_pylist()) == {"打[PHONE]给我"}
    assert place.workspace.manifest(events).counts == {
        "events": 10, "redactions": 10, "unusable": 0, "known": 0, "late": 0
    }  # fmt: skip
    stored = [path.read_bytes() for path in (tmp_path / "workspace").rglob("*") if path.is_file()]
    assert stored
    assert not any(b"13812345" in content for content in stored)


def test_events_come_in_order_of_time_and_those_logged_twice_once(place: Place) -> None:
    place.add("b", BEGIN + DAY)
    place.add("a", BEGIN + DAY)
    place.add("c", BEGIN, "first")
    place.add("c", BEGIN, "second")
    place.add("b", BEGIN + 2 * DAY)
    events = place.pull()
    assert events
    rows = place.workspace.read(events, QueryEvent).to_pylist()
    assert [(row["event_id"], row["issued_at"]) for row in rows] == [
        ("c", BEGIN),
        ("a", BEGIN + DAY),
        ("b", BEGIN + DAY),
    ]
    assert rows[0]["text"] == "first"


def test_a_window_is_pulled_whole_again_and_again(place: Place) -> None:
    for number in range(4):
        place.add(f"e{number}", BEGIN + number * DAY)
    window = {"since": (BEGIN + DAY).isoformat(), "until": (BEGIN + 3 * DAY).isoformat()}
    first = place.pull(**window)
    assert place.pulled(**window) == ["e1", "e2"]
    assert "late" not in place.workspace.manifest(str(first)).counts
    place.deal_with()
    assert place.pull(**window) == first
    assert place.pull() is None
    assert place.pulled(since="2024-03-02") == ["e1", "e2", "e3"]


def test_an_incremental_pull_may_end_early(place: Place) -> None:
    for number in range(4):
        place.add(f"e{number}", BEGIN + number * DAY)
    assert place.pulled(until=(BEGIN + 2 * DAY).isoformat()) == ["e0", "e1"]


def test_a_date_in_the_future_hides_no_later_event(place: Place) -> None:
    """The clock of whoever logged it was wrong."""
    now = datetime.now(UTC)
    place.add("a", now - timedelta(minutes=5))
    place.add("future", datetime(9999, 12, 31, tzinfo=UTC))
    place.deal_with()
    for number in range(3):
        place.add(f"e{number}", now + timedelta(seconds=number))
        assert place.pulled() == [f"e{number}"]
        place.deal_with()
    assert place.pull() is None


def test_only_pulls_that_the_log_shows_again_are_opened(place: Place) -> None:
    for number in range(5):
        place.add(f"e{number}", BEGIN + 2 * number * DAY)
        place.deal_with()
    names = place.workspace.refs(PULLS)
    assert len(names) == 5
    damaged = [Path(str(place.workspace.root)) / "objects" / place.workspace.require(name, "") for name in names]
    for folder in damaged[:-1]:
        (folder / "data.parquet").write_bytes(b"")
    place.add("new", BEGIN + 8 * DAY)
    assert place.pulled() == ["new"]
    (damaged[-1] / "data.parquet").write_bytes(b"")
    with pytest.raises(ArtefactDamaged):
        place.pull()


def test_a_workspace_that_knows_only_its_newest_events_goes_on_from_there(place: Place) -> None:
    """As one from before there were references to every pull."""
    place.add("a", BEGIN)
    old = place.pull()
    assert old
    place.workspace.point(EVENTS, old)
    place.add("b", BEGIN + timedelta(hours=1))
    assert place.pulled() == ["b"]
    new = place.deal_with()
    assert place.workspace.ref(EVENTS) == new
    assert {place.workspace.ref(name) for name in place.workspace.refs(PULLS)} == {old, new}
    place.add("late", BEGIN)
    assert place.pulled() == ["late"]


def test_dealing_with_an_old_window_moves_nothing_back(place: Place) -> None:
    for number in range(6):
        place.add(f"e{number}", BEGIN + number * DAY)
    newest = place.deal_with()
    old = place.pull(since=BEGIN.isoformat(), until=(BEGIN + 2 * DAY).isoformat())
    assert old
    place.mark(old)
    assert place.workspace.ref(EVENTS) == newest
    place.mark(old)
    assert len(place.workspace.refs(PULLS)) == 2
    assert place.pull() is None


@pytest.mark.parametrize("hours", [1e9, float("inf")])
def test_any_lateness_is_allowed(place: Place, hours: float) -> None:
    place.add("a", BEGIN)
    place.deal_with()
    place.add("ancient", datetime(1970, 1, 1, tzinfo=UTC))
    log = place.context.settings.query_log.model_copy(update={"lateness_hours": hours})
    place.context = Context(place.context.settings.model_copy(update={"query_log": log}), place.workspace)
    assert place.pulled() == ["ancient"]


@pytest.mark.parametrize("year", [1, 9999])
def test_any_time_can_be_remembered(place: Place, year: int) -> None:
    place.add("a", datetime(year, 1, 1, tzinfo=UTC))
    place.deal_with()
    assert place.pull() is None


@pytest.mark.parametrize("name", ["since", "until"])
def test_a_moment_that_is_none_is_refused(place: Place, name: str) -> None:
    with pytest.raises(SettingsError, match=f"{name} is 'yesterday', expected an ISO 8601 time"):
        place.pull(**{name: "yesterday"})


def test_the_log_is_that_of_the_settings(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RERANKOPS_QUERY_LOG_URL", raising=False)
    for source, words in (("sql", "RERANKOPS_QUERY_LOG_URL is not set"), ("elasticsearch", "hosts names no server")):
        log = place.context.settings.query_log.model_copy(update={"source": source})
        place.context = Context(place.context.settings.model_copy(update={"query_log": log}), place.workspace)
        with pytest.raises(SettingsError, match=words):
            place.pull()
