"""The query log in a database, on SQLite: its times are text, in any spelling. PostgreSQL has integration tests."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from rerankops.config import QueryLogSettings, load
from rerankops.elastic import Cluster
from rerankops.errors import InputError, RerankopsError, ServerUnavailable, SettingsError
from rerankops.queries.logs import RAW_EVENT, open_log

LogAt = Callable[..., QueryLogSettings]
HOW = load(environ={}).reading
BARE = {"source": None, "shown_passage_ids": None, "clicked_passage_ids": None, "feedback": None}
NOON = datetime(2026, 9, 1, 12, tzinfo=UTC)


def no_cluster() -> Cluster:
    raise AssertionError("a database needs none")


class Database:
    """A file with one table."""

    def __init__(self, path: Path) -> None:
        self.path, self.url = path, f"sqlite:///{path}"

    def run(self, statement: str, *rows: tuple[Any, ...]) -> None:
        with sqlite3.connect(self.path) as connection:
            if rows:
                connection.executemany(statement, rows)
            else:
                connection.execute(statement)

    def read(self, settings: QueryLogSettings, **window: datetime) -> list[dict[str, Any]]:
        pages = list(open_log(settings, HOW, {"RERANKOPS_QUERY_LOG_URL": self.url}, no_cluster).read(**window))
        assert all(page.schema == RAW_EVENT and page.num_rows <= settings.page_size for page in pages)
        return [row for page in pages for row in page.to_pylist()]

    def ids(self, settings: QueryLogSettings, **window: datetime) -> list[str]:
        return [row["event_id"] for row in self.read(settings, **window)]


@pytest.fixture
def database(tmp_path: Path) -> Database:
    found = Database(tmp_path / "log.db")
    found.run("CREATE TABLE events (event_id, text TEXT, issued_at TIMESTAMP)")
    return found


def test_a_table_is_read_whole_with_lists_as_json_or_parted_text(tmp_path: Path, log_at: LogAt) -> None:
    database = Database(tmp_path / "log.db")
    database.run("CREATE TABLE app (id INTEGER, q TEXT, at TEXT, origin TEXT, shown TEXT, opened JSON, thumb TEXT)")
    rows = [(2, "b", "2026-09-01 12:00:00", None, None, None, None)]
    rows += [(1, "a", "2026-09-01T11:00:00Z", "app", "p1|p2", '["p2", 3]', "up")]  # type: ignore[list-item]
    database.run("INSERT INTO app VALUES (?, ?, ?, ?, ?, ?, ?)", *rows)
    names = {"event_id": "id", "text": "q", "issued_at": "at", "source": "origin", "feedback": "thumb"}
    lists = {"shown_passage_ids": "shown", "clicked_passage_ids": "opened"}
    first = {"event_id": "1", "text": "a", "issued_at": NOON - timedelta(hours=1), "source": "app", "feedback": "up"}
    first |= {"shown_passage_ids": ["p1", "p2"], "clicked_passage_ids": ["p2", "3"]}
    second = {"event_id": "2", "text": "b", "issued_at": NOON, "source": "query_log", "feedback": "none"}
    second |= {"shown_passage_ids": [], "clicked_passage_ids": []}
    unmapped = dict.fromkeys(("user_group", "preferred_passage_id", "ranker", "randomised"))
    first, second = first | unmapped, second | unmapped
    read = database.read(log_at("app", kind="sql", **names, **lists))
    assert sorted(read, key=lambda row: row["event_id"]) == [first, second]


def test_flags_are_numbers_in_a_database(tmp_path: Path, log_at: LogAt) -> None:
    database = Database(tmp_path / "log.db")
    database.run("CREATE TABLE app (event_id TEXT, text TEXT, issued_at TEXT, ab TEXT, shuffled INTEGER)")
    rows = [("1", "a", "2026-09-01T11:00:00Z", "v1", 1), ("2", "b", "2026-09-01T12:00:00Z", None, 0)]
    database.run("INSERT INTO app VALUES (?, ?, ?, ?, ?)", *rows)
    read = database.read(log_at("app", kind="sql", **BARE, ranker="ab", randomised="shuffled"))
    assert [(row["ranker"], row["randomised"]) for row in read] == [("v1", True), (None, False)]


def test_text_times_of_every_spelling_are_compared_as_times(database: Database, log_at: LogAt) -> None:
    """As text, "2026-09-01 12" sorts before "2026-09-01T11", and a time zone changes the day."""
    spellings = {
        "space": "2026-09-01 12:00:00",
        "letter": "2026-09-01T12:00:00",
        "utc": "2026-09-01T12:00:00Z",
        "east": "2026-09-02 01:00:00+13:00",
        "west": "2026-08-31T23:59:00.000-12:01",
        "fine": "2026-09-01 12:00:00.000000+00:00",
        "basic": "20260901T120000Z",
        "week": "2026-W36-2T12:00:00",
    }
    database.run("INSERT INTO events VALUES (?, 't', ?)", *spellings.items())
    settings, step = log_at("events", kind="sql", **BARE), timedelta(microseconds=1)
    assert {row["issued_at"] for row in database.read(settings)} == {NOON}
    assert set(database.ids(settings, since=NOON)) == set(spellings)
    assert set(database.ids(settings, since=NOON, until=NOON + step)) == set(spellings)
    assert database.ids(settings, since=NOON + step) == database.ids(settings, until=NOON) == []
    assert database.ids(settings, since=NOON - timedelta(days=30), until=NOON) == []


def test_every_window_of_a_long_log_is_exact(database: Database, log_at: LogAt) -> None:
    begin = datetime(2025, 12, 20, tzinfo=UTC)
    moments = [begin + timedelta(hours=7 * n, microseconds=n) for n in range(120)]
    database.run("INSERT INTO events VALUES (?, 't', ?)", *((f"{n}", m.isoformat(" ")) for n, m in enumerate(moments)))
    settings = log_at("events", kind="sql", page_size=7, **BARE)
    for since in (0, 1, 37, 119):
        for until in (0, 1, 38, 80, 119):
            expected = {str(n) for n in range(since, until)}
            assert set(database.ids(settings, since=moments[since], until=moments[until])) == expected
    ends = {"since": datetime.min.replace(tzinfo=UTC), "until": datetime.max.replace(tzinfo=UTC)}
    assert len(database.ids(settings, **ends)) == len(moments)


def test_a_view_is_read_like_a_table(database: Database, log_at: LogAt) -> None:
    database.run("INSERT INTO events VALUES ('e1', 't', '2026-09-01')")
    database.run("CREATE VIEW recent AS SELECT * FROM events")
    assert database.ids(log_at("recent", kind="sql", **BARE)) == ["e1"]
    assert database.ids(log_at("main.recent", kind="sql", **BARE)) == ["e1"]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (("e1", "t", None), "table events, event 'e1': issued_at is missing"),
        (("e1", "t", "soon"), "table events, event 'e1': issued_at is 'soon', expected ISO 8601"),
        (("e1", "t", 1788), "table events, event 'e1': issued_at is 1788, expected ISO 8601"),
        (("e1", None, "2026-09-01"), "table events, event 'e1': text is missing"),
        ((None, "t", "2026-09-01"), "table events, row 1 by time: event_id is missing"),
        ((1.5, "t", "2026-09-01"), "table events, event 1.5: event_id is the number 1.5; is it an identifier"),
    ],
)
@pytest.mark.parametrize("window", [{}, {"since": NOON - timedelta(days=3)}])
def test_a_bad_row_is_named_by_table_and_event(
    database: Database, row: tuple[Any, ...], said: str, window: dict[str, datetime], log_at: LogAt
) -> None:
    database.run("INSERT INTO events VALUES (?, ?, ?)", row)
    with pytest.raises(InputError, match=f"^{said}"):
        database.read(log_at("events", kind="sql", **BARE), **window)


@pytest.mark.parametrize(
    ("location", "fields", "said"),
    [
        ("", BARE, r"query_log\.location names nothing: give the log's table"),
        ("event", BARE, r"query_log\.location is 'event': sqlite database .* has no such table or view; it has \['ev"),
        (
            "events",
            BARE | {"text": "q"},
            r"query_log\.fields\.text is 'q': events has no such column; it has \['event_i",
        ),
        ("events", {}, r"query_log\.fields\.source is 'source': events has no such column"),
    ],
)
def test_what_is_not_there_is_named_by_its_setting(
    database: Database, location: str, fields: dict[str, Any], said: str, log_at: LogAt
) -> None:
    with pytest.raises(SettingsError, match=said):
        database.read(log_at(location, kind="sql", **fields))


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("", "RERANKOPS_QUERY_LOG_URL is not set"),
        ("the log of the app, hunter2", "RERANKOPS_QUERY_LOG_URL is no database URL"),
        ("postgresql://app:x@y/hunter2@host/db", "RERANKOPS_QUERY_LOG_URL is no database URL"),
        ("postgresql://app:x@hunter2@host/db", "RERANKOPS_QUERY_LOG_URL is no database URL"),
        ("nosuch://app:hunter2@host/db", "SQLAlchemy knows no database 'nosuch'"),
        ("oracle://app:hunter2@host/db", "the driver of oracle is not installed"),
        ("sqlite:////nowhere/log.db", "there is no file /nowhere/log.db"),
    ],
)
def test_a_url_that_cannot_be_used_is_refused_without_being_shown(url: str, said: str, log_at: LogAt) -> None:
    with pytest.raises(SettingsError, match=said) as error:
        list(open_log(log_at("events", kind="sql"), HOW, {"RERANKOPS_QUERY_LOG_URL": url}, no_cluster).read())
    assert "hunter2" not in str(error.value)


def test_a_database_that_is_away_is_unavailable_and_its_password_not_shown(log_at: LogAt) -> None:
    environ = {"RERANKOPS_QUERY_LOG_URL": "postgresql://app:hunter2@127.0.0.1:1/logs"}
    with pytest.raises(ServerUnavailable, match=r"postgresql at 127\.0\.0\.1:1, database logs: .*refused") as error:
        list(open_log(log_at("events", kind="sql"), HOW, environ, no_cluster).read())
    assert "hunter2" not in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_that_is_no_database_is_refused_in_one_line(tmp_path: Path, log_at: LogAt) -> None:
    path = tmp_path / "log.db"
    path.write_bytes(b"SQLite format 3\0" + bytes(5000))
    with pytest.raises(RerankopsError) as error:
        Database(path).read(log_at("events", kind="sql", **BARE))
    assert "\n" not in str(error.value)
