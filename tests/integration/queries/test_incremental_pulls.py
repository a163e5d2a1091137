"""Successive pulls of a log that grows, with late events, failures and kills: every event is pulled exactly once.

The same tests on files, on PostgreSQL and on Elasticsearch.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

import psycopg
import pytest
from elasticsearch import Elasticsearch, helpers
from postgres_server import Server

from rerankops.config import Settings
from rerankops.pipeline.context import Context
from rerankops.pipeline.queries import EVENTS, mark_asked, pull_events
from rerankops.records import Query, QueryEvent
from rerankops.workspace import Address, Workspace

BEGIN = datetime(2024, 3, 1, tzinfo=UTC)
STEP = timedelta(milliseconds=1)
"""What every source can tell apart."""
LATENESS = timedelta(hours=2)
LogSettings = Callable[..., Settings]


class Event(NamedTuple):
    event_id: str
    issued_at: datetime
    logged_at: datetime


class Source(ABC):
    """A log that events can be added to, and the settings that name it."""

    settings: Settings

    @abstractmethod
    def add(self, events: Sequence[Event]) -> None: ...


class Files(Source):
    def __init__(self, folder: Path, log_settings: LogSettings, **changes: object) -> None:
        self.folder = folder
        folder.mkdir()
        self.settings = log_settings("files", folder, **changes)
        (folder / "0.jsonl").touch()

    def add(self, events: Sequence[Event]) -> None:
        """To the file of their hour of arrival, which may have been read before."""
        for event in events:
            row = {
                "event_id": event.event_id,
                "text": f"胎压{event.event_id}",
                "issued_at": event.issued_at.isoformat(),
            }
            with (self.folder / f"{event.logged_at:%m%d%H}.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")


class Table(Source):
    def __init__(self, url: str, log_settings: LogSettings, **changes: object) -> None:
        self.url = url
        bare = {"source": None, "shown_passage_ids": None, "clicked_passage_ids": None, "feedback": None}
        self.settings = log_settings("sql", "events", fields=bare, **changes)
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("CREATE TABLE events (event_id text, text text, issued_at timestamptz)")

    def add(self, events: Sequence[Event]) -> None:
        rows = [(event.event_id, f"胎压{event.event_id}", event.issued_at) for event in events]
        with psycopg.connect(self.url, autocommit=True) as connection, connection.cursor() as cursor:
            cursor.executemany("INSERT INTO events VALUES (%s, %s, %s)", rows)


class Index(Source):
    def __init__(self, url: str, log_settings: LogSettings, **changes: object) -> None:
        self.client, self.name = Elasticsearch(url, request_timeout=60), f"pulls-{uuid4().hex[:12]}"
        self.settings = log_settings("elasticsearch", self.name, hosts=(url,), **changes)
        self.client.indices.create(
            index=self.name,
            settings={"number_of_shards": 2, "number_of_replicas": 0},
            mappings={"properties": {"issued_at": {"type": "date"}, "event_id": {"type": "keyword"}}},
        )

    def add(self, events: Sequence[Event]) -> None:
        actions = [
            {
                "_index": self.name,
                "event_id": event.event_id,
                "text": f"胎压{event.event_id}",
                "issued_at": event.issued_at.isoformat(),
            }
            for event in events
        ]
        helpers.bulk(self.client, actions, refresh=True)


@pytest.fixture(params=["files", "sql", "elasticsearch"])
def make_source(
    request: pytest.FixtureRequest, tmp_path: Path, log_settings: LogSettings, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Source]]:
    """Makes empty logs of each kind in turn."""
    indexes: list[Index] = []

    def make(**changes: object) -> Source:
        changes = {"lateness_hours": LATENESS / timedelta(hours=1), "page_size": 7, **changes}
        if request.param == "files":
            return Files(tmp_path / f"log-{uuid4().hex}", log_settings, **changes)
        if request.param == "sql":
            server: Server = request.getfixturevalue("postgres")
            url = server.url(server.database())
            monkeypatch.setenv("RERANKOPS_QUERY_LOG_URL", url)
            return Table(url, log_settings, **changes)
        indexes.append(Index(request.getfixturevalue("elasticsearch_url"), log_settings, **changes))
        return indexes[-1]

    yield make
    for index in indexes:
        index.client.indices.delete(index=index.name)
        index.client.close()


class Puller:
    """A workspace, and what was pulled into it."""

    def __init__(self, source: Source, root: Path) -> None:
        self.context = Context(source.settings, Workspace(root))
        self.dealt_with: list[str] = []

    def pull(self, **window: str) -> Address | None:
        address: Address | None = pull_events(context=self.context, **window)
        return address

    def ids(self, events: Address | None) -> list[str]:
        return self.context.workspace.read(events, QueryEvent)["event_id"].to_pylist() if events else []

    def counts(self, events: Address) -> dict[str, float]:
        return self.context.workspace.manifest(events).counts

    def deal_with(self, events: Address | None) -> None:
        """As if the batch made of them were out."""
        if events:
            self.dealt_with += self.ids(events)
            queries = self.publish("distil_queries", events)
            mark_asked(self.context, self.publish("sample_queries", queries))

    def publish(self, step: str, made_from: Address) -> Address:
        return self.context.workspace.publish(Query, Query.empty(), step=step, inputs=[made_from])


def history(rng: random.Random, count: int) -> list[Event]:
    """Events that reach the log in any order, less than LATENESS late; many share their time with others."""
    events = []
    for number in range(count):
        issued_at = BEGIN + rng.randrange(12) * timedelta(hours=1) + rng.randrange(4) * STEP
        late = rng.choice((timedelta(), rng.random() * LATENESS, LATENESS - STEP))
        events.append(Event(f"e{number:03}", issued_at, issued_at + late))
    return events


@pytest.mark.parametrize("seed", range(4))
def test_each_event_is_pulled_exactly_once_whatever_the_order_in_which_they_come(
    make_source: Callable[..., Source], tmp_path: Path, seed: int
) -> None:
    rng = random.Random(seed)
    source = make_source(slices=rng.choice((1, 2, 3)), page_size=rng.choice((1, 7, 1000)))
    puller, waiting = (
        Puller(source, tmp_path / "workspace"),
        sorted(history(rng, 80), key=lambda event: event.logged_at),
    )
    everything, moment = {event.event_id for event in waiting}, BEGIN
    while waiting:
        moment += rng.random() * timedelta(hours=4)
        source.add([event for event in waiting if event.logged_at <= moment])
        waiting = [event for event in waiting if event.logged_at > moment]
        events = puller.pull()
        if rng.random() < 0.7:  # else the run fails after its pull
            puller.deal_with(events)
    puller.deal_with(puller.pull())
    assert Counter(puller.dealt_with) == dict.fromkeys(everything, 1)
    assert puller.pull() is None


def test_late_events_are_counted_and_so_are_those_seen_again(
    make_source: Callable[..., Source], tmp_path: Path
) -> None:
    source = make_source()
    puller, noon = Puller(source, tmp_path / "workspace"), BEGIN + timedelta(hours=12)
    source.add([Event(f"e{hour:02}", BEGIN + timedelta(hours=hour), noon) for hour in range(13)])
    first = puller.pull()
    assert first is not None
    assert {name: puller.counts(first)[name] for name in ("events", "known", "late")} == {
        "events": 13,
        "known": 0,
        "late": 0,
    }
    assert puller.pull() == first  # nothing is out: the same again
    puller.deal_with(first)
    assert puller.context.workspace.ref(EVENTS) == first
    assert puller.pull() is None

    source.add([Event("late", noon - LATENESS, noon), Event("tie", noon, noon), Event("new", noon + STEP, noon)])
    source.add([Event("too late", noon - LATENESS - STEP, noon)])
    second = puller.pull()
    assert second is not None
    assert puller.ids(second) == ["late", "tie", "new"]
    assert {name: puller.counts(second)[name] for name in ("events", "known", "late")} == {
        "events": 3,
        "known": 3,  # of 10, 11 and 12 o'clock
        "late": 2,
    }
    puller.deal_with(second)
    assert puller.pull() is None
    assert puller.ids(puller.pull(since=(noon - timedelta(hours=3)).isoformat(), until=noon.isoformat())) == [
        "e09",
        "too late",
        "e10",
        "late",
        "e11",
    ]


def test_without_lateness_events_of_the_last_moment_are_not_lost(
    make_source: Callable[..., Source], tmp_path: Path
) -> None:
    source = make_source(lateness_hours=0)
    puller = Puller(source, tmp_path / "workspace")
    for number in range(3):
        source.add([Event(f"{number}{letter}", BEGIN, BEGIN) for letter in "ab"])
        events = puller.pull()
        assert puller.ids(events) == [f"{number}a", f"{number}b"]
        puller.deal_with(events)
    assert puller.pull() is None


def test_the_same_window_gives_the_same_address_in_any_workspace(
    make_source: Callable[..., Source], tmp_path: Path
) -> None:
    """Pages and slices come in any order; the events do not."""
    source = make_source(slices=3, page_size=3)
    source.add(history(random.Random(3), 60))
    window = {"since": BEGIN.isoformat(), "until": (BEGIN + timedelta(hours=9)).isoformat()}
    found = {Puller(source, tmp_path / f"{n}").pull(**window) for n in range(4)}
    assert len(found) == 1
    puller = Puller(source, tmp_path / "0")
    puller.deal_with(puller.pull(**window))
    assert {puller.pull(**window)} == found


KILLED = """
import os, signal
from rerankops.pipeline import context, queries
from rerankops.workspace import Workspace
here = context.load()
Workspace.publish = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
queries.pull_events(context=here)
"""


def test_a_pull_that_is_killed_before_it_is_stored_counts_for_nothing(
    make_source: Callable[..., Source], tmp_path: Path
) -> None:
    source = make_source()
    puller = Puller(source, tmp_path / "workspace")
    source.add([Event(f"a{n}", BEGIN + n * STEP, BEGIN) for n in range(20)])
    puller.deal_with(puller.pull())
    source.add([Event(f"b{n}", BEGIN + n * STEP, BEGIN) for n in range(20)])
    log = source.settings.query_log.model_dump(mode="json")
    own = {"WORKSPACE__ROOT": str(tmp_path / "workspace"), "ELASTICSEARCH__HOSTS": source.settings.elasticsearch.hosts}
    own |= {f"QUERY_LOG__{name.upper()}": value for name, value in log.items()}
    environment = {
        f"RERANKOPS__{name}": json.dumps(value) for name, value in own.items() if name != "QUERY_LOG__FIELDS"
    }
    for name, value in log["fields"].items():
        environment[f"RERANKOPS__QUERY_LOG__FIELDS__{name.upper()}"] = json.dumps(value)
    done = subprocess.run([sys.executable, "-c", KILLED], env={**os.environ, **environment}, timeout=400, check=False)
    assert done.returncode == -signal.SIGKILL
    puller.deal_with(puller.pull())
    assert Counter(puller.dealt_with) == {f"{letter}{n}": 1 for letter in "ab" for n in range(20)}
    assert puller.pull() is None
