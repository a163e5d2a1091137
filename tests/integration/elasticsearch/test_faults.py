"""Loads and searches while nodes die, the network spoils or the server stays away. Longer: tests/campaigns."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from elasticsearch_node import running, script
from faults import World, load_serve_and_search_through, load_through_deaths, search_through_a_death, until
from indexes import cluster_of, fresh_alias, settings_of, version
from proxies import FAULTS, FaultyProxy
from retrieval_contract import VECTORS, manual, numbered

from rerankops.errors import ServerUnavailable
from rerankops.retrieval.elasticsearch import ElasticsearchRetriever

if TYPE_CHECKING:
    from local_elasticsearch import Cluster

SAMPLE = World.of(200, 20)
RETRIES = 3


@pytest.mark.parametrize("kind", FAULTS)
def test_a_network_that_spoils_changes_nothing(elasticsearch_url: str, kind: str) -> None:
    load_serve_and_search_through(elasticsearch_url, SAMPLE, kind, share=0.1, seed=7)


def test_a_load_outlives_a_node_that_is_killed_and_started_again(tmp_path: Path) -> None:
    with running(tmp_path, heap="400m") as cluster:
        load_through_deaths(cluster.nodes[0], SAMPLE, [6, 4])


def test_searches_go_on_when_one_of_three_nodes_dies(three_nodes: Cluster) -> None:
    search_through_a_death(three_nodes, SAMPLE, victim=0)


# -- a server that stays away -----------------------------------------------------------------------------------------


@contextlib.contextmanager
def listener(how: str) -> Iterator[tuple[int, list[int]]]:
    """A port that never answers ("mute"), or hangs up at once ("hangs up"); and the connections there were."""
    with socket.create_server(("127.0.0.1", 0), backlog=50) as server:
        met: list[int] = []
        kept: list[socket.socket] = []

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, (_, port) = server.accept()
                    met.append(port)
                    connection.close() if how == "hangs up" else kept.append(connection)

        threading.Thread(target=accept, daemon=True).start()
        yield server.getsockname()[1], met
        for connection in kept:
            connection.close()


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("scheme", "how"), [("http", "mute"), ("http", "hangs up"), ("https", "hangs up")])
def test_a_server_that_never_answers_is_given_up_after_the_tries_set(scheme: str, how: str) -> None:
    """A handshake that breaks off is no certificate that is not trusted: the server may be back in a moment."""
    with listener(how) as (port, met):
        settings = settings_of(f"{scheme}://127.0.0.1:{port}", retries=RETRIES, request_timeout=0.3)
        with (
            cluster_of(settings) as cluster,
            pytest.raises(ServerUnavailable, match=r"cannot ask for the server's version: .*is it running and") as told,
        ):
            _ = cluster.version
        assert "\n" not in str(told.value)
        until(lambda: len(met) >= 1 + RETRIES)  # the last one was given up, and may not have been taken yet
        assert len(met) == 1 + RETRIES


@pytest.mark.timeout(300)
def test_nobody_at_the_port_is_told_after_the_tries_set() -> None:
    [port] = script().free_ports(1)
    settings, said = settings_of(f"http://127.0.0.1:{port}", retries=RETRIES), r"Connection refused; is it running and"
    with cluster_of(settings) as cluster, pytest.raises(ServerUnavailable, match=said):
        version(cluster, settings, "a").prepare(manual(), VECTORS)


@pytest.mark.timeout(300)
def test_a_server_that_stays_busy_is_not_stormed(elasticsearch_url: str) -> None:
    """However much there is to load or to ask, the requests in flight use up their tries, and no others are begun."""
    passages, vectors = numbered(130)
    with fresh_alias(elasticsearch_url) as alias:
        busy = FaultyProxy(elasticsearch_url, share=1, kinds=["503"], only=lambda _, path: path.startswith("/test-"))
        with busy as proxy:
            more = {"retries": RETRIES, "search_batch": 2, "search_concurrency": 3, "bulk_concurrency": 2}
            settings = settings_of(proxy.url, alias, bulk_megabytes=0.001, **more)
            with cluster_of(settings) as cluster:
                index = version(cluster, settings, "a")
                opened = ElasticsearchRetriever(cluster, index.name, settings.elasticsearch, settings.retrieval)
                legs = opened.legs([f"q{n}" for n in range(130)], ["机油"] * 130, vectors, bm25_k=3, dense_k=3)
                assert (legs.bm25.height, legs.dense.height, len(legs.failures)) == (0, 0, 130)
                assert all("status 503, blocked by: no master" in reason for reason in legs.failures.values())
                assert proxy.counts["503"] <= 3 * (1 + RETRIES)
                with pytest.raises(ServerUnavailable, match=r"^130 queries were not answered, 'q0' among them: .*503"):
                    opened.bm25([f"q{n}" for n in range(130)], ["机油"] * 130, k=3)

                proxy.counts.clear()
                with pytest.raises(
                    ServerUnavailable, match=r"cannot look at index .*: status 503, blocked by: no master"
                ):
                    index.prepare(passages, vectors)
                assert proxy.counts["503"] == 1 + RETRIES

                proxy.counts.clear()
                proxy.only = lambda _, path: "_bulk" in path
                with pytest.raises(ServerUnavailable, match=r"cannot load index .*: status 503, blocked by: no master"):
                    index.prepare(passages, vectors)
                assert proxy.counts["503"] <= 3 * (1 + RETRIES)
                proxy.share = 0
                assert index.prepare(passages, vectors).sent == 130
