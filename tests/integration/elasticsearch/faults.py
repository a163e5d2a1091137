"""Loads and searches while nodes die and the network spoils: one code for the sample in CI and for the campaign."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from elasticsearch import Elasticsearch
from indexes import cluster_of, fresh_alias, settings_of, version
from numpy.typing import NDArray
from polars.testing import assert_frame_equal
from proxies import FaultyProxy, _Handler
from retrieval_contract import unit

from rerankops.config import Settings
from rerankops.elastic import Cluster, Connection
from rerankops.errors import ServerRefused, ServerUnavailable
from rerankops.records import Passage
from rerankops.retrieval.elasticsearch import ElasticsearchRetriever
from rerankops.retrieval.search import Legs

if TYPE_CHECKING:
    from local_elasticsearch import Cluster as Nodes
    from local_elasticsearch import Node

SMALL_REQUESTS = {"bulk_megabytes": 0.005, "search_batch": 4}


@dataclass(frozen=True)
class World:
    """Passages and questions of random words, with random vectors."""

    passages: pa.Table
    vectors: NDArray[np.float32]
    texts: list[str]
    probes: NDArray[np.float32]

    @classmethod
    def of(cls, count: int, queries: int, seed: int = 0) -> World:
        draw = np.random.default_rng(seed)

        def words(number: int) -> str:
            return " ".join(f"word{word}" for word in draw.integers(300, size=number))

        rows = [{"passage_id": f"p{n}", "title": words(2), "text": words(12), "metadata": []} for n in range(count)]
        vectors, probes = (unit(draw.normal(size=(number, 16))) for number in (count, queries))
        return cls(Passage.table(rows), vectors, [words(3) for _ in range(queries)], probes)

    @property
    def names(self) -> list[str]:
        return [f"q{number}" for number in range(len(self.texts))]

    def load(self, settings: Settings, name: str) -> None:
        with cluster_of(settings) as cluster:
            version(cluster, settings, name).prepare(self.passages, self.vectors)

    def ask(self, settings: Settings, name: str) -> Legs:
        """Every match of every query: nothing is left to a graph or to the order of equal scores."""
        count = self.passages.num_rows
        with cluster_of(settings) as cluster:
            opened = ElasticsearchRetriever(cluster, name, settings.elasticsearch, settings.retrieval)
            return opened.legs(self.names, self.texts, self.probes, bm25_k=count, dense_k=count)


def assert_answered(legs: Legs, expected: Legs, names: list[str]) -> None:
    """Each query has all that it should have, or is reported and has nothing."""
    for mine, whole in ((legs.bm25, expected.bm25), (legs.dense, expected.dense)):
        answered = [name for name in names if name not in legs.failures]
        columns, order = ["query_id", "passage_id", "score"], ["query_id", "passage_id"]
        wanted = whole.filter(pl.col("query_id").is_in(answered)).select(columns).sort(order)
        assert_frame_equal(mine.select(columns).sort(order), wanted, abs_tol=1e-6)
        assert set(wanted["query_id"]) == set(answered)  # the world leaves no query without a hit
    assert set(legs.failures) <= set(names)


# -- a network that spoils --------------------------------------------------------------------------------------------


class FirstAndSome(FaultyProxy):
    """Spoils the first request of each kind, and a share of the others."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.met: Counter[str] = Counter()

    def _draw(self, handler: _Handler) -> tuple[str | None, float]:
        kind = f"{handler.command} {handler.path.partition('?')[0]}"
        drawn, where = super()._draw(handler)
        with self._lock:
            self.met[kind] += 1
            return (drawn or self.kinds[0] if self.met[kind] == 1 else drawn), where


def load_serve_and_search_through(url: str, world: World, kind: str, *, share: float, seed: int) -> None:
    """What comes of it is what an undisturbed run gives."""
    with fresh_alias(url) as alias:
        quiet = settings_of(url, alias, **SMALL_REQUESTS)
        world.load(quiet, "quiet")
        expected = world.ask(quiet, f"{alias}-quiet")
        with cluster_of(quiet) as cluster:
            version(cluster, quiet, "quiet").serve()
        with FirstAndSome(url, share=share, seed=seed, kinds=[kind]) as proxy:
            faulty = settings_of(proxy.url, alias, retries=30, **SMALL_REQUESTS)
            world.load(faulty, "faulty")
            with cluster_of(faulty) as cluster:
                assert version(cluster, faulty, "faulty").serve() == []
            found = world.ask(faulty, alias)
        assert proxy.counts[kind] >= len(proxy.met) > 8, (proxy.counts, proxy.met)
        assert dict(found.failures) == {}
        assert_answered(found, expected, world.names)
        with cluster_of(quiet) as cluster:
            index = version(cluster, quiet, "faulty")
            assert index.served() == [index.name]
            assert index.count() == world.passages.num_rows


# -- a node that dies while it is loaded ------------------------------------------------------------------------------


class Watching(Cluster):
    """Calls back as the n-th request to load is on its way, and lets no later one go before it is `over`."""

    def __init__(self, settings: Settings, at: int, then: Callable[[], None], over: threading.Event) -> None:
        super().__init__(Connection.configured(settings.elasticsearch, {}), settings.elasticsearch)
        self.at, self.then, self.over, self.loads, self._counting = at, then, over, 0, threading.Lock()

    def ask(self, doing: str, request: Callable[[], Any], **more: Any) -> Any:
        with self._counting:
            self.loads += doing.startswith("load index")
            number = self.loads
        if doing.startswith("load index") and number == self.at:
            self.then()
        elif number >= self.at:
            assert self.over.wait(300)
        return super().ask(doing, request, **more)


def load_through_deaths(node: Node, world: World, deaths: list[int]) -> None:
    """The node is killed as request number so-and-so of a load is sent. The load ends with ServerUnavailable and is run
    again; the last death it outlasts. What is served meanwhile stays served, and what is there in the end is what an
    undisturbed load leaves."""
    with fresh_alias(node.url) as alias:
        impatient = settings_of(node.url, alias, retries=1, **SMALL_REQUESTS)
        patient = settings_of(node.url, alias, retries=4000, max_backoff=0.3, **SMALL_REQUESTS)
        with cluster_of(impatient) as cluster:
            old, index = (version(cluster, impatient, name) for name in ("old", "new"))
            old.prepare(world.passages, world.vectors)
            old.serve()
            expected = world.ask(impatient, old.name)
            for number, at in enumerate(deaths, start=1):
                outlasts = number == len(deaths)
                settings = patient if outlasts else impatient

                dead = threading.Event()

                def die(outlasts: bool = outlasts, dead: threading.Event = dead) -> None:
                    node.kill()
                    dead.set()
                    if outlasts:
                        node.start()

                dying = threading.Thread(target=die)  # beside the request, which may be half done
                with Watching(settings, at, dying.start, dead) as watching:
                    loading = version(watching, settings, "new")
                    try:
                        loading.prepare(world.passages, world.vectors)
                        assert outlasts
                    except ServerUnavailable:
                        if outlasts:
                            raise
                    assert watching.loads >= at, "the load was over before the node could be killed"
                dying.join()
                node.start()
                assert index.served() == [old.name]
                if not outlasts:
                    with pytest.raises(ServerRefused, match="is not complete; load it first"):
                        index.serve()
            assert index.prepare(world.passages, world.vectors).sent == 0
            assert index.count() == world.passages.num_rows
            assert index.serve() == []
            found = world.ask(impatient, alias)
        assert dict(found.failures) == {}
        assert_answered(found, expected, world.names)


# -- a node that dies while it is searched ----------------------------------------------------------------------------


def search_through_a_death(nodes: Nodes, world: World, victim: int) -> int:
    """One of three nodes is killed between searches and comes back. With a replica, searches go on; of an index without
    one, each query is reported. Returns how many queries were reported of the first."""
    with fresh_alias(nodes.url) as alias:
        common = {**SMALL_REQUESTS, "retries": 8, "max_backoff": 0.5}
        safe = settings_of(nodes.urls, alias, shards=1, replicas=1, **common)
        bare = settings_of(nodes.urls, alias, shards=3, replicas=0, **common | {"retries": 1})
        world.load(safe, "safe")
        world.load(bare, "bare")
        with Elasticsearch(nodes.url, request_timeout=60) as client:
            client.cluster.health(index=f"{alias}-safe", wait_for_status="green", timeout="50s")
        expected, alone = world.ask(safe, f"{alias}-safe"), world.ask(bare, f"{alias}-bare")
        assert (dict(expected.failures), dict(alone.failures)) == ({}, {})
        answers: list[Legs] = []
        done = threading.Event()

        def keep_asking() -> None:
            while not done.is_set():
                answers.append(world.ask(safe, f"{alias}-safe"))

        asking = threading.Thread(target=keep_asking)
        asking.start()
        until(lambda: len(answers) >= 1)
        nodes.nodes[victim].kill()
        before = len(answers)
        until(lambda: len(answers) >= before + 3)
        without = world.ask(bare, f"{alias}-bare")
        nodes.nodes[victim].start()
        nodes.nodes[victim].wait_ready(nodes=len(nodes.nodes))
        done.set()
        asking.join()
        for legs in answers:
            assert_answered(legs, expected, world.names)
        assert_answered(without, alone, world.names)
        assert set(without.failures) == set(world.names)
        assert dict(world.ask(safe, f"{alias}-safe").failures) == {}
        return sum(len(legs.failures) for legs in answers)


def until(true: Callable[[], bool], seconds: float = 300) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.02)
