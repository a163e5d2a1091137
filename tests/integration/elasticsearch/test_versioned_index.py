"""A version of the passages on a real node: made, loaded, broken off, resumed, served, pruned."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from elasticsearch import Elasticsearch
from faults import until
from indexes import cluster_of, fresh_alias, names, settings_of, version
from numpy.typing import NDArray
from proxies import FaultyProxy
from retrieval_contract import numbered, unit

from rerankops.config import Settings
from rerankops.elastic import Cluster
from rerankops.errors import InputError, ServerRefused
from rerankops.records import Passage
from rerankops.retrieval.elasticsearch import ElasticsearchRetriever, Prepared, VersionedIndex
from rerankops.retrieval.search import recall_against_exact

PASSAGES, VECTORS = numbered(60)
SMALL = 0.002
"""Megabytes; a few passages a request."""


@pytest.fixture
def alias(elasticsearch_url: str) -> Iterator[str]:
    with fresh_alias(elasticsearch_url) as alias:
        yield alias


@pytest.fixture
def settings(elasticsearch_url: str, alias: str) -> Settings:
    return settings_of(elasticsearch_url, alias, bulk_megabytes=SMALL)


@pytest.fixture
def cluster(settings: Settings) -> Iterator[Cluster]:
    with cluster_of(settings) as cluster:
        yield cluster


@pytest.fixture
def client(cluster: Cluster) -> Elasticsearch:
    return cluster.client


def indexed(client: Elasticsearch, name: str) -> int:
    """How many documents were ever written to it, those that replaced another too."""
    return client.indices.stats(index=name, metric="indexing")["_all"]["primaries"]["indexing"]["index_total"]


def broken_off(cluster: Cluster, settings: Settings, name: str = "a", row: int = 40) -> VersionedIndex:
    """A load that one passage stopped, when those before it were on their way."""
    index, rows = version(cluster, settings, name), PASSAGES.to_pylist()
    rows[row]["passage_id"] = "é" * 257
    with pytest.raises(InputError, match=r"^passage_id 'é{60}'… is longer than 512 bytes, a document id's limit$"):
        index.prepare(Passage.table(rows), VECTORS)
    return index


# -- making and loading -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "oversample", "recall"), [("hnsw", None, 1.0), ("int8_hnsw", None, 0.9), ("bbq_hnsw", 5, 0.9)]
)
def test_the_mapping_is_explicit_and_each_kind_of_vector_index_finds_its_neighbours(
    elasticsearch_url: str, alias: str, kind: str, oversample: float | None, recall: float
) -> None:
    changes = {"vector_index": kind, "rescore_oversample": oversample, "analyzer": "english", "hnsw_m": 12}
    settings = settings_of(elasticsearch_url, alias, replicas=1, shards=2, retrieval=changes)
    passages, vectors = numbered(200, 64)
    with cluster_of(settings) as cluster:
        index = version(cluster, settings, kind)
        assert index.prepare(passages, vectors).sent == 200
        found = cluster.client.indices.get(index=index.name)[index.name]
        ids = passages["passage_id"].to_pylist()
        search = ElasticsearchRetriever(cluster, index.name, settings.elasticsearch, settings.retrieval)
        assert recall_against_exact(search, vectors[:40], vectors, ids, k=10) >= recall
    fields, options = found["mappings"]["properties"], {"type": kind, "m": 12, "ef_construction": 100}
    assert found["mappings"]["dynamic"] == "strict"
    assert fields["vector"]["index_options"].items() >= options.items()
    assert (fields["vector"]["dims"], fields["vector"]["similarity"]) == (64, "cosine")
    assert fields["title"] == fields["text"] == {"type": "text", "analyzer": "english"}
    assert (fields["passage_id"]["type"], fields["metadata"]["type"]) == ("keyword", "flattened")
    made = found["settings"]["index"]
    assert made["similarity"]["default"] == {"type": "BM25", "b": "0.75", "k1": "1.2"}
    assert (made["number_of_shards"], made["number_of_replicas"], made.get("refresh_interval")) == ("2", "1", None)


def test_vectors_are_the_same_whether_the_server_reads_bytes_or_digits(cluster: Cluster, settings: Settings) -> None:
    answers = []
    for packed in (True, False):
        with cluster_of(settings) as asking:
            if not packed:
                asking.__dict__["version"] = (9, 2, 0)
            index = version(asking, settings, f"packed-{packed}".lower())
            index.prepare(PASSAGES, VECTORS)
            search = ElasticsearchRetriever(asking, index.name, settings.elasticsearch, settings.retrieval)
            answers.append(search.dense(["a", "b"], VECTORS[:2], k=60))
    assert answers[0].equals(answers[1])


def test_a_load_that_is_repeated_sends_nothing(cluster: Cluster, settings: Settings) -> None:
    index = version(cluster, settings, "a")
    assert index.meta() is None
    first = index.prepare(PASSAGES, VECTORS)
    assert (first.sent, first.found, first.bytes > 60 * 80) == (60, 0, True)
    assert index.prepare(PASSAGES, VECTORS) == Prepared(0, 60, 0)
    assert indexed(cluster.client, index.name) == index.count() == 60


def test_a_load_that_broke_off_goes_on_with_what_is_missing(
    cluster: Cluster, settings: Settings, client: Elasticsearch
) -> None:
    index = broken_off(cluster, settings)
    loading = client.indices.get_settings(index=index.name)[index.name]["settings"]["index"]
    assert (loading["refresh_interval"], loading["number_of_replicas"]) == ("-1", "0")
    with pytest.raises(ServerRefused, match=rf"^index {index.name} is not complete; load it first$"):
        index.serve()
    there = indexed(client, index.name)
    assert 0 < there <= 40
    resumed = index.prepare(PASSAGES, VECTORS)
    assert (resumed.found, resumed.sent) == (there, 60 - there)
    assert indexed(client, index.name) == index.count() == 60
    assert index.serve() == []
    undisturbed = version(cluster, settings, "b")
    undisturbed.prepare(PASSAGES, VECTORS)
    assert documents(client, index.name) == documents(client, undisturbed.name)


def documents(client: Elasticsearch, name: str) -> dict[str, Any]:
    hits = client.search(index=name, size=1000, source={"exclude_vectors": False})["hits"]["hits"]
    return {hit["_id"]: hit["_source"] for hit in hits}


def test_passages_that_a_complete_index_lost_are_sent_again(
    cluster: Cluster, settings: Settings, client: Elasticsearch
) -> None:
    index = version(cluster, settings, "a")
    index.prepare(PASSAGES, VECTORS)
    for name in ("p3", "p59"):
        client.delete(index=index.name, id=name, refresh=True)
    assert index.prepare(PASSAGES, VECTORS).sent == 2
    client.index(index=index.name, id="alien", document={"text": "from elsewhere"}, refresh=True)
    with pytest.raises(ServerRefused, match=r"holds 61 passages after loading 60; delete it and load again$"):
        index.prepare(PASSAGES, VECTORS)


@pytest.mark.parametrize(
    ("row", "vector", "said"),
    [
        ({}, np.zeros((1, 16), np.float32), r"^passage 'p' has a vector of no direction$"),
        ({}, np.full((1, 16), np.nan, np.float32), r"^passage 'p' has a vector of no direction$"),
        ({"metadata": [("k", "x" * 40_000)]}, VECTORS[:1], r"^passage 'p' was refused by index \S+: .*immense"),
        ({}, VECTORS[:2], r"^1 passages and 2 vectors do not belong together$"),
    ],
    ids=["zero", "nan", "metadata", "count"],
)
def test_a_passage_that_cannot_be_held_is_named(
    cluster: Cluster, settings: Settings, row: dict[str, Any], vector: NDArray[np.float32], said: str
) -> None:
    one = Passage.table([{"passage_id": "p", "title": "", "text": "", "metadata": []} | row])
    index = version(cluster, settings, "a")
    with pytest.raises(InputError, match=said):
        index.prepare(one, vector)
    with pytest.raises(ServerRefused, match=r"is not (there|complete); load it first$"):
        index.serve()


@pytest.mark.parametrize(
    ("retrieval", "passages", "vectors", "said"),
    [
        (
            {"analyzer": "english"},
            PASSAGES,
            VECTORS,
            r"title\.analyzer is 'cjk', wanted is 'english'; delete the index",
        ),
        ({"hnsw_m": 5}, PASSAGES, VECTORS, r"vector\.index_options is .*, wanted is .*'m': 5"),
        ({}, PASSAGES, numbered(60, 8)[1], r"vector\.dims is 16, wanted is 8; delete the index, or choose another el"),
    ],
    ids=["analyzer", "graph", "dimensions"],
)
@pytest.mark.parametrize("complete", [True, False])
def test_an_index_with_another_mapping_is_refused_and_left_alone(
    elasticsearch_url: str,
    cluster: Cluster,
    settings: Settings,
    retrieval: dict[str, Any],
    passages: pa.Table,
    vectors: NDArray[np.float32],
    said: str,
    complete: bool,
) -> None:
    there = version(cluster, settings, "a")
    there.prepare(PASSAGES, VECTORS) if complete else broken_off(cluster, settings)
    before = (there.meta(), indexed(cluster.client, there.name))
    other = settings_of(elasticsearch_url, settings.elasticsearch.alias, retrieval=retrieval)
    with pytest.raises(ServerRefused, match=rf"^index {there.name} exists with another mapping: {said}"):
        version(cluster, other, "a").prepare(passages, vectors)
    assert (there.meta(), indexed(cluster.client, there.name)) == before


def test_an_analyzer_that_the_server_lacks_is_named_and_leaves_no_index(elasticsearch_url: str, alias: str) -> None:
    settings = settings_of(elasticsearch_url, alias, retrieval={"analyzer": "ik_max_word"})
    with cluster_of(settings) as cluster:
        with pytest.raises(ServerRefused, match=r"no analyzer 'ik_max_word' \(setting retrieval\.analyzer\); built in"):
            version(cluster, settings, "a").prepare(PASSAGES, VECTORS)
        assert names(cluster.client, alias) == []


def test_an_index_of_somebody_elses_is_refused_and_left_alone(
    cluster: Cluster, settings: Settings, client: Elasticsearch
) -> None:
    index = version(cluster, settings, "a")
    client.index(index=index.name, id="theirs", document={"note": "mine"}, refresh=True)
    for touch in (index.serve, lambda: index.prepare(PASSAGES, VECTORS)):
        with pytest.raises(ServerRefused, match=rf"^index {index.name} was not made by rerankops; delete it, or"):
            touch()
    assert documents(client, index.name) == {"theirs": {"note": "mine"}}


def test_an_index_that_is_deleted_while_it_is_loaded_is_not_served(
    elasticsearch_url: str, alias: str, client: Elasticsearch
) -> None:
    """Elasticsearch makes a new one by itself at the next bulk request, of whatever mapping."""
    seen: list[str] = []

    def meanwhile(method: str, path: str) -> bool:
        seen.append(path)
        if sum("_bulk" in path for path in seen) == 3 and "_bulk" in path:
            client.indices.delete(index=f"{alias}-a")
        return False

    with FaultyProxy(elasticsearch_url, only=meanwhile) as proxy:
        settings = settings_of(proxy.url, alias, bulk_megabytes=SMALL, bulk_concurrency=1)
        with cluster_of(settings) as cluster:
            index = version(cluster, settings, "a")
            for _ in range(2):
                with pytest.raises(ServerRefused, match=rf"^index {index.name} .*delete it"):
                    index.prepare(PASSAGES, VECTORS)
                with pytest.raises(ServerRefused):
                    index.serve()
    assert not client.indices.exists_alias(name=alias)


# -- serving ----------------------------------------------------------------------------------------------------------


def test_the_alias_is_moved_in_one_step(
    elasticsearch_url: str, alias: str, cluster: Cluster, client: Elasticsearch
) -> None:
    settings = settings_of(elasticsearch_url, alias, keep_indexes=5)
    three, five = version(cluster, settings, "three"), version(cluster, settings, "five")
    for index, count in ((three, 3), (five, 5)):
        index.prepare(PASSAGES[:count], VECTORS[:count])
    assert three.served() == []
    three.serve()
    done, counts = threading.Event(), list[int]()

    def ask() -> None:
        with Elasticsearch(elasticsearch_url, request_timeout=60) as asking:
            while not done.is_set():
                counts.append(asking.count(index=alias)["count"])  # a moment without alias would be a 404

    with_answers = threading.Thread(target=ask)
    with_answers.start()
    try:
        for index in (five, three) * 4:
            assert index.serve() == []
            assert index.served() == [index.name]
            seen = len(counts)
            until(lambda seen=seen: len(counts) >= seen + 2 or not with_answers.is_alive())  # one of them began now
            assert with_answers.is_alive(), "a count was refused"
    finally:
        done.set()
        with_answers.join()
    assert set(counts) == {3, 5}


def test_an_alias_that_somebody_spread_over_indexes_points_at_one_again(
    cluster: Cluster, settings: Settings, client: Elasticsearch
) -> None:
    mine, other = (empty_version(cluster, settings, name) for name in ("a", "b"))
    for index in (mine, other):
        client.indices.put_alias(index=index.name, name=mine.alias)
    mine.serve()
    assert mine.served() == [mine.name]


def test_an_index_in_the_place_of_the_alias_is_named(
    cluster: Cluster, settings: Settings, client: Elasticsearch
) -> None:
    index = empty_version(cluster, settings, "a")
    client.indices.create(index=index.alias, wait_for_active_shards="0")
    with pytest.raises(ServerRefused, match=rf"^there is an index named '{index.alias}', so no alias can have that"):
        index.serve()
    assert names(client, index.alias) == [index.alias, index.name]


def empty_version(
    cluster: Cluster, settings: Settings, name: str, *, age: int = 0, complete: bool = True, **about: object
) -> VersionedIndex:
    """An index that says of itself what a load would have it say. age: in days."""
    index = version(cluster, settings, name)
    created = (datetime.now(UTC) - timedelta(days=age)).isoformat(timespec="milliseconds")
    meta = {"alias": index.alias, "complete": complete, "created": created, **about}
    mappings = {"_meta": {"rerankops": meta}}
    own = {"number_of_replicas": 0}
    cluster.client.indices.create(index=index.name, mappings=mappings, settings=own, wait_for_active_shards="0")
    return index


def test_pruning_keeps_the_newest_versions_and_what_is_not_its_own(
    elasticsearch_url: str, alias: str, cluster: Cluster, settings: Settings, client: Elasticsearch
) -> None:
    for number in (1, 2, 3, 4):
        empty_version(cluster, settings, f"old{number}", age=10 - number)
    empty_version(cluster, settings, "broken", age=9, complete=False)
    empty_version(cluster, settings, "pinned", age=9)
    client.indices.put_alias(index=f"{alias}-pinned", name=f"{alias}-compare")
    served = empty_version(cluster, settings, "served", age=1)
    empty_version(cluster, settings, "loading", complete=False)
    empty_version(cluster, settings, "en-a", age=9, alias=f"{alias}-en")
    empty_version(cluster, settings, "en-b", age=9, alias=f"{alias}-en", complete=False)
    client.indices.create(index=f"{alias}-logs", wait_for_active_shards="0")
    left = {name.removeprefix(f"{alias}-") for name in names(client, alias)}
    for keep, goes in [(9, {"broken"}), (5, set()), (3, {"old1", "old2"}), (1, {"old3", "old4"}), (1, set())]:
        keeping = settings_of(elasticsearch_url, alias, keep_indexes=keep)
        gone = version(cluster, keeping, "served").serve()
        left -= goes
        assert gone == sorted(f"{alias}-{name}" for name in goes)
        assert names(client, alias) == sorted(f"{alias}-{name}" for name in left)
    assert left == {"pinned", "served", "loading", "en-a", "en-b", "logs"}
    assert served.served() == [served.name]


def test_the_vectors_of_a_memory_map_are_read_as_they_are(
    cluster: Cluster, settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("vectors") / "vectors.npy"
    np.save(path, unit(np.random.default_rng(4).normal(size=(60, 16))))
    stored = np.load(path, mmap_mode="r")
    index = version(cluster, settings, "a")
    index.prepare(PASSAGES, stored)
    search = ElasticsearchRetriever(cluster, index.name, settings.elasticsearch, settings.retrieval)
    found = search.dense(["q"], np.asarray(stored[7:8]), k=1)
    assert found.select("passage_id", "score").rows() == [("p7", pytest.approx(1.0, abs=1e-6))]
