"""Pulling events: what the workspace remembers of it, and what it never sees. Real servers have integration tests."""

from __future__ import annotations

import json
import os
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from rerankops import config
from rerankops.errors import ArtefactDamaged, InputError, SettingsError
from rerankops.pipeline.context import Context
from rerankops.pipeline.queries import EVENTS, PULLS, QUERY_LOG, mark_asked, pull_events
from rerankops.pipeline.set_aside import stands_aside
from rerankops.privacy import VERSION
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


# -- what cannot be read is set aside


def set_aside(place: Place) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = stands_aside(QUERY_LOG, context=place.context).to_pylist()
    return rows


def test_one_bad_event_stops_no_other_and_is_kept_with_its_reason(place: Place) -> None:
    for number in range(8):
        place.add(f"e{number}", BEGIN + number * DAY)
    place.add("null", BEGIN, text=None)  # type: ignore[arg-type]
    with place.log.open("a") as file:
        file.write('{"event_id": "e9", "text": "打13812345678给我", "issued_at": "2024-03-')
    events = place.pull()
    assert events
    assert place.workspace.manifest(events).counts["set_aside"] == 2
    assert len(place.workspace.read(events, QueryEvent)) == 8
    null, unfinished = set_aside(place)
    assert (null["line"], null["kind"]) == (9, "text is missing")
    assert (unfinished["line"], unfinished["kind"]) == (10, "an unfinished last line")
    assert "is it still being written" in unfinished["reason"]
    assert "[PHONE]" in unfinished["content"]
    assert "138123" not in json.dumps(null | unfinished)


def test_what_was_set_aside_comes_with_the_pull_after_it_was_mended(place: Place) -> None:
    """Also when it is older than any window of a later pull."""
    for number in range(8):
        place.add(f"e{number}", BEGIN + number * DAY)
    whole = place.log.read_text(encoding="utf-8")
    place.log.write_text(whole.replace('"event_id": "e1"', '"event_id" "e1"'), encoding="utf-8")
    assert "e1" not in place.workspace.read(place.deal_with(), QueryEvent)["event_id"].to_pylist()
    assert place.pulled() == []
    place.log.write_text(whole, encoding="utf-8")
    assert place.pulled() == ["e1"]
    assert set_aside(place) == []
    place.deal_with()  # the pull above came to nothing: this one reads the same
    assert place.pulled() == []


def test_too_many_bad_rows_fail_with_the_commonest_reasons_and_are_still_kept(place: Place) -> None:
    place.add("e1", BEGIN)
    for number in range(3):
        place.add(f"n{number}", BEGIN, text=None)  # type: ignore[arg-type]
    with place.log.open("a") as file:
        file.write("nonsense\n")
    with pytest.raises(InputError, match=r"4 of 5 rows cannot be used, above quality\.max_unusable_share") as told:
        place.pull()
    assert re.search(
        r"3 × text is missing \(first: .*log\.jsonl:2: .*; 1 × not valid JSON \(first: .*:5", str(told.value)
    )
    assert len(set_aside(place)) == 4


def test_a_damaged_file_among_others_is_set_aside_and_one_that_is_no_table_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    place = Place(folder)
    place.add("e1", BEGIN)
    (folder / "damaged.parquet").write_bytes(b"PAR1" + b"\0" * 200 + b"PAR1")
    (folder / "later.ndjson").write_bytes(place.log.read_bytes().replace(b"e1", b"e2"))
    (folder / "README.md").write_text("# how these are made")
    (folder / "gone.csv").symlink_to(folder / "nowhere.csv")
    (folder / "older").mkdir()
    odd = os.fsencode(folder) + b"/\xc8\xd5\xd6\xbe.jsonl"  # a name in GB18030
    Path(os.fsdecode(odd)).write_bytes(place.log.read_bytes().replace(b"e1", b"e3"))
    settings = place.context.settings
    log = settings.query_log.model_copy(update={"location": str(folder)})
    here = Context(settings.model_copy(update={"query_log": log}), Workspace(tmp_path / "workspace"))
    with caplog.at_level("INFO", logger="rerankops"):
        events = pull_events(context=here)
    assert set(here.workspace.read(events, QueryEvent)["event_id"].to_pylist()) == {"e1", "e2", "e3"}
    assert here.workspace.manifest(events).counts["files_set_aside"] == 1
    (damaged,) = stands_aside(QUERY_LOG, context=here).to_pylist()
    assert damaged["file"] == str(folder / "damaged.parquet")
    for name, why in (("README.md", "no column"), ("gone.csv", "symbolic link to nothing"), ("older", "a folder")):
        assert re.search(rf"not read: .*{name}.*{why}", caplog.text)


def test_a_text_in_doubt_is_set_aside_masked_and_stops_nothing(place: Place, tmp_path: Path) -> None:
    place.add("e1", BEGIN, "884402771935016怎么查")
    place.add("e2", BEGIN + DAY, "胎压多少")
    events = place.pull()
    assert events
    table = place.workspace.read(events, QueryEvent)
    assert table["text"].to_pylist() == ["[NUMBER]怎么查", "胎压多少"]
    assert [query is None for query in table["query_id"].to_pylist()] == [True, False]
    assert place.workspace.manifest(events).counts["in_doubt"] == 1
    (aside,) = stands_aside("personal_data", context=place.context).to_pylist()
    assert (aside["place"], aside["content"]) == ("event e1", "[NUMBER]怎么查")
    assert aside["reason"] == "a long number that may be a person's"
    stored = [path.read_bytes() for path in (tmp_path / "workspace").rglob("*") if path.is_file()]
    assert not any(b"884402771935016" in content for content in stored)


def test_what_a_log_has_in_the_place_of_a_name_of_its_own_is_redacted(place: Place) -> None:
    place.add("e1", BEGIN, source="app 13812345678")
    events = place.pull()
    assert events
    assert place.workspace.read(events, QueryEvent)["source"].to_pylist() == ["app [PHONE]"]


def test_the_rules_of_redaction_are_part_of_the_address(place: Place) -> None:
    place.add("e1", BEGIN, "我叫王小明，胎压多少")
    events = place.pull()
    assert events
    names = place.context.settings.queries.names.model_copy(update={"recogniser": "off"})
    queries = place.context.settings.queries.model_copy(update={"names": names})
    off = Context(place.context.settings.model_copy(update={"queries": queries}), place.workspace)
    other = pull_events(context=off)
    assert other != events
    assert place.workspace.manifest(events).settings["redaction"]["rules"] == VERSION
    assert place.workspace.read(other, QueryEvent)["text"].to_pylist() == ["我叫王小明，胎压多少"]


def test_what_a_step_says_of_a_log_quotes_no_personal_data(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    place.log.write_text(
        '{"event_id": "e1", "text": "胎压多少", "issued_at": "我叫王小明，电话13812345678"}\n', encoding="utf-8"
    )
    with caplog.at_level("INFO"), pytest.raises(InputError) as raised:
        place.pull()
    told = f"{raised.value} {raised.value.__cause__} {caplog.text}"
    assert "[PHONE]" in told
    assert "13812345678" not in told
    assert "王小明" not in told
