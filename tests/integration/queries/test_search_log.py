"""The query log in a real Elasticsearch: every document once, whatever happens on the way; refusals in one line."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from uuid import uuid4

import pyarrow as pa
import pytest
from elasticsearch import Elasticsearch, helpers

from rerankops.config import Settings
from rerankops.elastic import Cluster, Connection
from rerankops.errors import InputError, RerankopsError, ServerRefused, ServerUnavailable, SettingsError
from rerankops.queries.logs import RAW_EVENT, open_log
from rerankops.queries.logs import search as search_module

NOON = datetime(2026, 9, 1, 12, tzinfo=UTC)
STEP = timedelta(milliseconds=1)
LogSettings = Callable[..., Settings]
Doc = dict[str, Any]


class Log:
    """An index of its own on a server, and how it is read."""

    def __init__(self, url: str, log_settings: LogSettings) -> None:
        self.url, self.name, self._log_settings = url, f"log-{uuid4().hex[:12]}", log_settings
        self.client = Elasticsearch(url, request_timeout=60)
        self.points: list[str] = []
        """The points in time that reading opened."""

    def create(self, kind: str = "date", shards: int = 1, suffix: str = "", **mapping: Any) -> None:
        properties = {"issued_at": {"type": kind, **mapping}, "text": {"type": "text"}, "event_id": {"type": "keyword"}}
        self.client.indices.create(
            index=self.name + suffix,
            settings={"number_of_shards": shards, "number_of_replicas": 0, "refresh_interval": "-1"},
            mappings={"properties": properties},
        )

    def add(self, docs: list[Doc], suffix: str = "") -> None:
        actions = [{"_index": self.name + suffix, "_id": doc.get("_id", doc.get("event_id")), **doc} for doc in docs]
        helpers.bulk(self.client, actions, refresh=True)

    def cluster(self, settings: Settings, url: str | None = None) -> Cluster:
        cluster = Cluster(Connection((url or self.url,)), settings.elasticsearch)
        opening = cluster.client.open_point_in_time

        def noted(**arguments: Any) -> Any:
            answer = opening(**arguments)
            self.points.append(answer["id"])
            return answer

        cluster.client.open_point_in_time = noted  # type: ignore[method-assign]
        return cluster

    def read(
        self,
        since: datetime | None = None,
        until: datetime | None = None,
        *,
        location: str | None = None,
        url: str | None = None,
        **changes: Any,
    ) -> Iterator[pa.Table]:
        settings = self._log_settings("elasticsearch", location or self.name, hosts=(url or self.url,), **changes)
        return open_log(settings.query_log, settings.reading, {}, lambda: self.cluster(settings, url)).read(
            since, until
        )

    def lose(self) -> None:
        """The server forgets every point in time, as when it restarts or a reader is too slow."""
        for point in list(self.points):  # a slice that reads beside this opens the next one
            self.client.options(ignore_status=404).close_point_in_time(id=point)

    def nothing_is_open(self) -> bool:
        """Whether no point in time is left; one that was closed may take a moment to be gone, a forgotten one stays."""
        deadline = time.monotonic() + 30
        while self.open_points() and time.monotonic() < deadline:
            time.sleep(0.05)
        return self.open_points() == 0

    def open_points(self) -> int:
        stats = self.client.indices.stats(index=f"{self.name}*", metric="search")
        return int(stats["_all"]["total"]["search"]["open_contexts"])


@pytest.fixture
def log(elasticsearch_url: str, log_settings: LogSettings) -> Iterator[Log]:
    found = Log(elasticsearch_url, log_settings)
    with closing(found.client):
        yield found
        for name in found.client.indices.get(index=f"{found.name}*", expand_wildcards="all"):
            found.client.indices.delete(index=name)


def ids(pages: Iterator[pa.Table]) -> list[str]:
    return [event_id for page in pages for event_id in page["event_id"].to_pylist()]


def event(number: int, moment: datetime = NOON, **more: Any) -> Doc:
    return {"event_id": f"e{number:05}", "text": f"胎压{number}", "issued_at": moment.isoformat(), **more}


def shuffled(count: int, *, seed: int = 1) -> list[Doc]:
    """Events with many of one time, indexed in no order."""
    rng = random.Random(seed)
    docs = [event(n, NOON + rng.randrange(max(1, count // 20)) * STEP) for n in range(count)]
    rng.shuffle(docs)
    return docs


def test_a_document_is_read_as_logged(log: Log) -> None:
    log.create()
    full = {"source": "app", "shown_passage_ids": ["p1", 2], "clicked_passage_ids": "p1", "feedback": "up"}
    more = {"user_group": "dealers", "preferred_passage_id": "p2", "ranker": "v3", "randomised": True}
    log.add([event(1), event(2, NOON + STEP, **full, **more, **{"unknown": {"is": "ignored"}})])
    (page,) = log.read(slices=1, fields={name: name for name in more})
    assert page.schema == RAW_EVENT
    bare = {"source": "query_log", "shown_passage_ids": [], "clicked_passage_ids": [], "feedback": "none"}
    bare |= dict.fromkeys(more)
    full |= more
    assert page.to_pylist() == [
        {"event_id": "e00001", "text": "胎压1", "issued_at": NOON, **bare},
        {"event_id": "e00002", "text": "胎压2", "issued_at": NOON + STEP, **full}
        | {"shown_passage_ids": ["p1", "2"], "clicked_passage_ids": ["p1"]},
    ]


def test_fields_may_be_called_otherwise_lie_deeper_or_be_the_documents_own_id(log: Log) -> None:
    log.client.indices.create(
        index=log.name, mappings={"properties": {"@timestamp": {"type": "date"}, "user.query": {"type": "text"}}}
    )
    fields = {"event_id": "_id", "text": "user.query", "issued_at": "@timestamp", "clicked_passage_ids": "click.ids"}
    nested = {"user": {"query": "胎压"}, "click": {"ids": ["p1"]}}
    docs = [{"_id": "a", **nested}, {"_id": "b", "user.query": "胎压", "click.ids": "p1"}]
    log.add([doc | {"@timestamp": "2026-09-01T12:00:00Z"} for doc in docs])
    rows = [row for page in log.read(fields=fields) for row in page.to_pylist()]
    expected = {"text": "胎压", "issued_at": NOON, "clicked_passage_ids": ["p1"]}
    assert sorted(row["event_id"] for row in rows) == ["a", "b"]
    assert all(expected.items() <= row.items() for row in rows)


@pytest.mark.parametrize("slices", [1, 2, 3, 7])
@pytest.mark.parametrize("shards", [1, 3])
def test_slices_together_give_every_event_once_and_pages_keep_to_their_size(log: Log, slices: int, shards: int) -> None:
    log.create(shards=shards)
    log.add(shuffled(1500))
    pages = list(log.read(slices=slices, page_size=64))
    assert max(page.num_rows for page in pages) <= 64
    assert sorted(ids(iter(pages))) == [f"e{n:05}" for n in range(1500)]
    assert log.nothing_is_open()


def test_paging_goes_over_ties_that_are_larger_than_a_page(log: Log) -> None:
    log.create(shards=2)
    log.add([event(n) for n in range(300)] + [event(n, NOON + STEP) for n in range(300, 310)])
    for slices in (1, 4):
        assert sorted(ids(log.read(slices=slices, page_size=7))) == [f"e{n:05}" for n in range(310)]
        assert len(ids(log.read(NOON, NOON + STEP, slices=slices, page_size=7))) == 300


@pytest.mark.parametrize(("kind", "step"), [("date", STEP), ("date_nanos", timedelta(microseconds=1))])
def test_windows_are_exact_to_the_precision_of_the_index(log: Log, kind: str, step: timedelta) -> None:
    log.create(kind)
    log.add([event(n, NOON + n * step) for n in range(20)])
    expected = [f"e{n:05}" for n in range(20)]
    for first, last in ((0, 20), (3, 4), (7, 7), (5, 19)):
        found = log.read(NOON + first * step, NOON + last * step, page_size=3)
        assert sorted(ids(found)) == expected[first:last]
    assert [row["issued_at"] for page in log.read(slices=1) for row in page.to_pylist()] == [
        NOON + n * step for n in range(20)
    ]


def test_the_time_is_what_the_index_took_it_for_however_it_was_written(log: Log) -> None:
    log.create(format="epoch_second||yyyy/MM/dd HH:mm||strict_date_optional_time")
    spellings = [int(NOON.timestamp()), "2026/09/01 12:00", "2026-09-01T20:00:00+08:00", "2026-09-01T12:00:00"]
    log.add([event(n) | {"issued_at": spelling} for n, spelling in enumerate(spellings)])
    assert [page["issued_at"].to_pylist() for page in log.read(NOON, NOON + STEP, slices=1)] == [[NOON] * 4]


def test_an_alias_and_a_pattern_read_all_their_indexes_of_either_precision(log: Log) -> None:
    log.create("date", suffix="-1")
    log.create("date_nanos", suffix="-2", shards=2)
    log.add([event(n, NOON + n * STEP) for n in range(0, 40, 2)], "-1")
    log.add([event(n, NOON + n * STEP) for n in range(1, 40, 2)], "-2")
    log.client.indices.put_alias(index=f"{log.name}-*", name=f"{log.name}-all")
    for location in (f"{log.name}-all", f"{log.name}-*", f"{log.name}-1,{log.name}-2"):
        for slices in (1, 3):
            found = log.read(NOON + 10 * STEP, location=location, slices=slices, page_size=3)
            assert sorted(ids(found)) == [f"e{n:05}" for n in range(10, 40)]


def test_what_is_logged_meanwhile_is_not_half_read(log: Log) -> None:
    log.create(shards=2)
    log.add(shuffled(200))
    pages = log.read(page_size=10)
    first = next(pages)
    log.add([event(n) for n in range(200, 400)])
    log.client.delete(index=log.name, id="e00007", refresh=True)
    assert sorted(ids(iter([first, *pages]))) == [f"e{n:05}" for n in range(200)]


@pytest.mark.parametrize("slices", [1, 3])
@pytest.mark.parametrize("shards", [1, 2])
def test_a_lost_point_in_time_is_opened_again_without_doubles_or_losses(log: Log, slices: int, shards: int) -> None:
    """Also when segments were merged and documents moved meanwhile, so that no place of the old one means anything."""
    log.create(shards=shards)
    docs = shuffled(600)
    for part in range(0, 600, 100):
        log.add(docs[part : part + 100])
    read: list[str] = []
    for number, page in enumerate(log.read(slices=slices, page_size=20)):
        read += page["event_id"].to_pylist()
        if number in (2, 7, 11):
            log.lose()
            if number == 7:
                log.client.indices.forcemerge(index=log.name, max_num_segments=1)
    assert sorted(read) == [f"e{n:05}" for n in range(600)]
    assert 3 <= len(log.points) <= 4
    assert log.nothing_is_open()


def test_a_point_in_time_that_no_server_keeps_is_given_up(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    log.create()
    log.add(shuffled(100))
    pages = log.read(page_size=10, slices=1)
    next(pages)
    opened = search_module._PointInTime._open

    def open_and_lose(self: Any) -> tuple[str, int]:
        found = opened(self)
        log.lose()
        return found

    monkeypatch.setattr(search_module._PointInTime, "_open", open_and_lose)
    log.lose()
    with pytest.raises(RerankopsError, match=f"cannot read query log {log.name}"):
        list(pages)


def test_indexes_that_come_while_a_point_in_time_is_lost_are_not_read_by_halves(log: Log) -> None:
    log.create(suffix="-1")
    log.add([event(n, NOON + n * STEP) for n in range(100)], "-1")
    pages = log.read(location=f"{log.name}-*", page_size=10)
    next(pages)
    log.create(suffix="-2")
    log.lose()
    with pytest.raises(ServerUnavailable, match=r"indexes came or went while it was read.*try again"):
        list(pages)
    assert len(ids(log.read(location=f"{log.name}-*"))) == 100


def test_a_reader_that_stops_early_closes_the_point_in_time(log: Log) -> None:
    log.create(shards=2)
    log.add(shuffled(200))
    pages = log.read(page_size=10)
    next(pages)
    assert log.open_points() > 0
    pages.close()  # type: ignore[attr-defined]
    assert log.nothing_is_open()


def test_an_empty_log_has_no_events(log: Log) -> None:
    log.create()
    assert list(log.read()) == list(log.read(NOON, NOON + STEP)) == []


# -- what is refused


@pytest.mark.parametrize(
    ("doc", "said"),
    [
        (event(1) | {"text": 5}, r"document log-\w+/bad: text must be text, found int"),
        (
            event(1) | {"text": None},
            r"document log-\w+/bad: text is missing; it has \['_id', 'event_id', 'issued_at'\]",
        ),
        (event(1) | {"event_id": None}, r"document log-\w+/bad: event_id is missing"),
        (event(1) | {"feedback": "meh"}, r"document log-\w+/bad: feedback is 'meh', allowed are"),
        (
            event(1) | {"shown_passage_ids": {"a": 1}},
            r"document log-\w+/bad: shown_passage_ids must be a list, found dict",
        ),
        (event(1) | {"issued_at": None}, r"document log-\w+/bad: issued_at is missing or no date\. Mend it"),
        (event(1) | {"issued_at": "soon"}, r"document log-\w+/bad: issued_at is missing or no date\. Mend it"),
        (event(1) | {"issued_at": 317_000_000_000_000}, r"document log-\w+/bad: issued_at is '\+12015"),
    ],
)
@pytest.mark.parametrize("window", [{}, {"since": NOON}])
def test_a_bad_document_is_named(log: Log, doc: Doc, said: str, window: dict[str, datetime]) -> None:
    log.create(ignore_malformed=True)
    log.add([doc | {"_id": "bad"}])
    with pytest.raises(InputError, match=f"^{said}") as told:
        list(log.read(**window))
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("kind", ["keyword", "text", "long", "boolean"])
def test_a_time_field_that_is_no_date_is_named_with_those_that_are(log: Log, kind: str) -> None:
    log.client.indices.create(
        index=log.name, mappings={"properties": {"issued_at": {"type": kind}, "logged": {"type": "date"}}}
    )
    with pytest.raises(SettingsError, match=rf"fields\.issued_at is 'issued_at': .* is {kind}, .*: \['logged'\]"):
        list(log.read())
    with pytest.raises(SettingsError, match=r"fields\.issued_at is 'when': .* is unmapped, .*: \['logged'\]"):
        list(log.read(fields={"issued_at": "when"}))


def test_a_pattern_with_an_index_of_another_kind_is_refused(log: Log) -> None:
    log.create(suffix="-1")
    log.client.indices.create(index=f"{log.name}-2", mappings={"properties": {"other": {"type": "keyword"}}})
    with pytest.raises(SettingsError, match="that is date, unmapped, it has to be date or date_nanos in every index"):
        list(log.read(location=f"{log.name}-*"))


def test_an_index_that_is_not_there_or_closed_is_named(log: Log) -> None:
    with pytest.raises(ServerRefused, match=rf"no such index \[{log.name}\]; setting query_log\.location has to name"):
        list(log.read())
    with pytest.raises(SettingsError, match=r"query_log\.location is '.*-\*': no index is called so"):
        list(log.read(location=f"{log.name}-*"))
    log.create()
    log.client.indices.close(index=log.name)
    with pytest.raises(ServerRefused, match=r"closed.*open it: POST INDEX/_open") as told:
        list(log.read())
    assert "\n" not in str(told.value)


class _Guard(BaseHTTPRequestHandler):
    """As Elasticsearch answers a login that it does not know."""

    def do_POST(self) -> None:
        body = b'{"error":{"type":"security_exception","reason":"unable to authenticate user [app]"},"status":401}'
        self.send_response(401)
        self.send_header("X-Elastic-Product", "Elasticsearch")
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST  # noqa: N815

    def log_message(self, *_: Any) -> None:
        pass


def test_wrong_credentials_are_told_in_one_line(log: Log) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Guard)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        with pytest.raises(ServerRefused, match=r"refuses who we are.*ELASTICSEARCH_API_KEY") as told:
            list(log.read(url=f"http://127.0.0.1:{server.server_port}"))
    finally:
        server.shutdown()
        server.server_close()
    assert "\n" not in str(told.value)


def test_a_server_that_is_away_is_unavailable(log: Log) -> None:
    with pytest.raises(ServerUnavailable, match=f"cannot read query log {log.name}: .*is it running and reachable"):
        list(log.read(url="http://127.0.0.1:1"))
