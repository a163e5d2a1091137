"""The query log in PostgreSQL: types, time zones, windows, streaming, and one line for everything that is refused."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import psycopg
import pyarrow as pa
import pytest
from postgres_server import Server

from rerankops.config import Settings, load
from rerankops.elastic import Cluster
from rerankops.errors import InputError, RerankopsError, ServerRefused, ServerUnavailable, SettingsError
from rerankops.queries.logs import RAW_EVENT, open_log

NOON = datetime(2026, 9, 1, 12, tzinfo=UTC)
STEP = timedelta(microseconds=1)
BARE = {"source": None, "shown_passage_ids": None, "clicked_passage_ids": None, "feedback": None}
LogSettings = Callable[..., Settings]


def no_cluster() -> Cluster:
    raise AssertionError("a database needs none")


@pytest.fixture
def database(postgres: Server) -> str:
    return postgres.database()


@pytest.fixture
def read(postgres: Server, database: str, log_settings: LogSettings) -> Callable[..., Iterator[pa.Table]]:
    """read("events", since=…, url=…, fields=…): the pages."""

    def read(
        location: str = "events",
        since: datetime | None = None,
        until: datetime | None = None,
        *,
        url: str | None = None,
        fields: dict[str, Any] = BARE,
        **changes: Any,
    ) -> Iterator[pa.Table]:
        settings = log_settings("sql", location, fields=fields, **changes).query_log
        environ = {"RERANKOPS_QUERY_LOG_URL": url or postgres.url(database)}
        return open_log(settings, load(environ={}).reading, environ, no_cluster).read(since, until)

    return read


def ids(pages: Iterator[pa.Table]) -> list[str]:
    return [event_id for page in pages for event_id in page["event_id"].to_pylist()]


def at_work(connection: psycopg.Connection, database: str) -> list[str]:
    """What clients of a database asked last, this connection aside."""
    asked = (
        "SELECT query FROM pg_stat_activity "
        "WHERE datname = %s AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
    )
    return [query for (query,) in connection.execute(asked, [database])]


def becomes(expected: object, look: Callable[[], object]) -> bool:
    """Whether it is so, or soon is: PostgreSQL ends a connection's process a moment after the connection."""
    deadline = time.monotonic() + 30
    while look() != expected and time.monotonic() < deadline:
        time.sleep(0.02)
    return look() == expected


def fill(server: Server, database: str, kind: str, rows: list[tuple[Any, ...]], table: str = "events") -> None:
    """A table of event_id, text and a time of this type."""
    with psycopg.connect(server.url(database), autocommit=True) as connection, connection.cursor() as cursor:
        cursor.execute(f"CREATE TABLE {table} (event_id text, text text, issued_at {kind})".encode())
        cursor.executemany(f"INSERT INTO {table} VALUES (%s, %s, %s)".encode(), rows)  # noqa: S608


def test_every_type_that_a_log_is_likely_to_have_is_read(
    postgres: Server, database: str, read: Callable[..., Iterator[pa.Table]]
) -> None:
    names = ["id", "q", "at", "app", "shown", "opened", "thumb", "segment", "answer", "served_by", "shuffled"]
    fields = dict(zip(RAW_EVENT.names, names, strict=True))
    for table, id_type, lists in (("a", "bigint", "text[]"), ("b", "uuid", "jsonb"), ("c", "varchar(40)", "json")):
        shown: Any = ["p1", "p2"] if lists == "text[]" else json.dumps(["p1", "p2"])
        identity = "6f1c1e9e-0000-4000-8000-000000000001" if id_type == "uuid" else "17"
        with psycopg.connect(postgres.url(database), autocommit=True) as connection:
            connection.execute(
                f"CREATE TABLE {table} (id {id_type}, q text, at timestamptz, app text, shown {lists}, "
                f"opened {lists}, thumb text, segment text, answer text, served_by text, shuffled boolean)".encode()
            )
            row = [identity, "胎压多少", datetime(2026, 9, 1, 20, tzinfo=timezone(timedelta(hours=8))), None, shown]
            connection.execute(
                f"INSERT INTO {table} VALUES (%s, %s, %s, %s, %s, NULL, 'down', 'dealers', 'p9', 'v3', true)".encode(),  # noqa: S608
                row,
            )
        (page,) = read(table, fields=fields)
        assert page.schema == RAW_EVENT
        assert page.to_pylist() == [
            {
                "event_id": identity,
                "text": "胎压多少",
                "issued_at": NOON,
                "source": "query_log",
                "shown_passage_ids": ["p1", "p2"],
                "clicked_passage_ids": [],
                "feedback": "down",
                "user_group": "dealers",
                "preferred_passage_id": "p9",
                "ranker": "v3",
                "randomised": True,
            }
        ]


@pytest.mark.parametrize(
    ("kind", "as_written"),
    [
        ("timestamptz", lambda moment: moment),
        ("timestamp", lambda moment: moment.replace(tzinfo=None)),
        ("text", lambda moment: moment.astimezone(timezone(timedelta(hours=9))).isoformat()),
        ("varchar(40)", lambda moment: moment.replace(tzinfo=None).isoformat(" ")),
    ],
)
def test_windows_are_exact_to_the_microsecond_and_times_without_a_zone_are_utc(
    postgres: Server, database: str, read: Callable[..., Iterator[pa.Table]], kind: str, as_written: Callable[..., Any]
) -> None:
    """The server's own zone is Shanghai's."""
    moments = [NOON + timedelta(hours=6 * hours) + n * STEP for hours in range(-8, 9) for n in range(3)]
    fill(postgres, database, kind, [(f"{n:03}", "t", as_written(moment)) for n, moment in enumerate(moments)])
    expected = [f"{n:03}" for n in range(len(moments))]
    assert [row["issued_at"] for page in read() for row in page.to_pylist()] == moments
    for first in (0, 1, 20, 25, 50):
        assert ids(read(since=moments[first])) == expected[first:]
        assert ids(read(until=moments[first])) == expected[:first]
        assert ids(read(since=moments[first], until=moments[first] + 2 * STEP)) == [
            name for name, m in zip(expected, moments, strict=True) if moments[first] <= m < moments[first] + 2 * STEP
        ]


def test_a_date_is_its_first_moment(postgres: Server, database: str, read: Callable[..., Iterator[pa.Table]]) -> None:
    fill(postgres, database, "date", [(f"e{day}", "t", date(2026, 9, day)) for day in (1, 2, 3)])
    midnight = datetime(2026, 9, 2, tzinfo=UTC)
    assert ids(read(since=midnight)) == ["e2", "e3"]
    assert ids(read(since=midnight + STEP, until=midnight + timedelta(days=1))) == []
    assert ids(read(since=midnight, until=midnight + STEP)) == ["e2"]


def test_schemas_and_views_are_read_too(
    postgres: Server, database: str, read: Callable[..., Iterator[pa.Table]]
) -> None:
    fill(postgres, database, "timestamptz", [("e1", "t", NOON)])
    postgres.run(
        "CREATE SCHEMA app",
        "CREATE VIEW app.recent AS SELECT * FROM events",
        "CREATE MATERIALIZED VIEW app.kept AS SELECT * FROM events",
        database=database,
    )
    for location in ("public.events", "app.recent", "app.kept"):
        assert ids(read(location)) == ["e1"]


def test_a_long_log_is_streamed_in_order_of_time_from_one_state(
    postgres: Server, database: str, read: Callable[..., Iterator[pa.Table]]
) -> None:
    moments = [NOON + timedelta(seconds=37 * n % 1000) for n in range(1000)]
    fill(postgres, database, "timestamptz", [(f"{n}", "t", moment) for n, moment in enumerate(moments)])
    pages = read(page_size=100)
    first = next(pages)
    with psycopg.connect(postgres.url(), autocommit=True) as connection:

        def doing() -> list[list[str]]:
            return [query.split()[:3] for query in at_work(connection, database)]

        assert becomes([["FETCH", "FORWARD", "100"]], doing)
        postgres.run(f"INSERT INTO events VALUES ('new', 't', '{NOON + timedelta(days=1)}')", database=database)  # noqa: S608
        rest = list(pages)
        assert becomes([], doing)
    table = pa.concat_tables([first, *rest])
    assert {page.num_rows for page in (first, *rest)} == {100}
    assert table["issued_at"].to_pylist() == sorted(moments)
    assert sorted(table["event_id"].to_pylist(), key=int) == [str(n) for n in range(1000)]


def test_a_reader_that_stops_early_leaves_no_connection(
    postgres: Server, database: str, read: Callable[..., Iterator[pa.Table]]
) -> None:
    fill(postgres, database, "timestamptz", [(f"{n}", "t", NOON) for n in range(100)])
    pages = read(page_size=10)
    next(pages)
    pages.close()  # type: ignore[attr-defined]
    with psycopg.connect(postgres.url(), autocommit=True) as connection:
        assert becomes([], lambda: at_work(connection, database))


@pytest.mark.parametrize(
    ("kind", "value", "error", "said"),
    [
        ("timestamptz", None, InputError, "table events, event 'bad': issued_at is missing"),
        ("timestamptz", "infinity", InputError, "holds a value that cannot be read"),
        ("text", "soon", InputError, "table events, event 'bad': issued_at is 'soon', expected ISO 8601"),
        ("bigint", 1788, InputError, "table events, event 'bad': issued_at is 1788, expected ISO 8601"),
        ("time", "12:00", SettingsError, "fields.issued_at is 'issued_at': in events that is TIME, not a timestamp"),
    ],
)
def test_a_time_that_is_none_is_named(
    postgres: Server,
    database: str,
    read: Callable[..., Iterator[pa.Table]],
    kind: str,
    value: object,
    error: type[RerankopsError],
    said: str,
) -> None:
    fill(postgres, database, kind, [("bad", "t", value)])
    for window in ({}, {"since": NOON}):
        with pytest.raises(error, match=said) as told:
            list(read(**window))
        assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("location", "fields", "said"),
    [
        (
            "logs",
            BARE,
            r"query_log\.location is 'logs': postgresql at .* has no such table or view; it has \['events'\]",
        ),
        ("app.events", BARE, r"query_log\.location is 'app\.events': .* has no such table or view; it has \[\]"),
        (
            "events",
            BARE | {"text": "q"},
            r"fields\.text is 'q': events has no such column; it has \['event_id', 'issued",
        ),
        ("events", {}, r"fields\.source is 'source': events has no such column"),
    ],
)
def test_what_is_not_there_is_named_by_its_setting(
    postgres: Server,
    database: str,
    read: Callable[..., Iterator[pa.Table]],
    location: str,
    fields: dict[str, Any],
    said: str,
) -> None:
    fill(postgres, database, "timestamptz", [])
    with pytest.raises(SettingsError, match=said):
        list(read(location, fields=fields))


def test_a_login_that_is_refused_is_told_in_one_line_without_its_password(
    postgres: Server, database: str, read: Callable[..., Iterator[pa.Table]]
) -> None:
    fill(postgres, database, "timestamptz", [("e1", "t", NOON)])
    guest = f"guest_{database}"
    postgres.run(f"CREATE ROLE {guest} LOGIN PASSWORD 'hunter2'")
    cases = {
        postgres.url(database, password="hunter2"): "authentication failed",
        postgres.url(database, user="nobody_here", password="hunter2"): "authentication failed",
        postgres.url("no_such_logs"): "database .no_such_logs. does not exist",
        postgres.url(database, user=guest, password="hunter2"): "permission denied for table events",
    }
    for url, said in cases.items():
        with pytest.raises(ServerRefused, match=f"{said}.*RERANKOPS_QUERY_LOG_URL") as told:
            list(read(url=url))
        assert "hunter2" not in str(told.value)
        assert postgres.password not in str(told.value)
        assert "\n" not in str(told.value)


def test_a_connection_lost_on_the_way_is_unavailable_not_the_end_of_the_log(
    postgres: Server, database: str, read: Callable[..., Iterator[pa.Table]]
) -> None:
    fill(postgres, database, "timestamptz", [(f"{n}", "t", NOON) for n in range(5000)])
    pages = read(page_size=10)
    next(pages)
    postgres.run(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}'")  # noqa: S608
    with pytest.raises(ServerUnavailable, match=f"postgresql at .*, database {database}: .*is it running") as told:
        list(pages)
    assert "\n" not in str(told.value)
