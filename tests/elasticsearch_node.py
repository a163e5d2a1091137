"""Real Elasticsearch nodes for tests. A conftest.py that wants the fixtures imports them by name:

    from elasticsearch_node import elasticsearch_url, three_nodes

    __all__ = ["elasticsearch_url", "three_nodes"]

`elasticsearch_url` is one server for the whole run, shared by all who import it, so indexes need names of their own; it
is the one that RERANKOPS_TEST_ELASTICSEARCH_URL names, when set. `three_nodes` is a cluster of a test module's own: its
nodes may be killed, and whoever kills one starts it again. `running(folder)` is a server or cluster for one test. What
these nodes lack is in scripts/local_elasticsearch.py. Where no server can be started, the tests fail and say why.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from local_elasticsearch import Cluster

GIVEN = "RERANKOPS_TEST_ELASTICSEARCH_URL"
SCRIPTS = Path(__file__).resolve().parents[1] / "scripts"
QUICK = ("-XX:TieredStopAtLevel=1",)
"""Compile fast rather than well: a test's server is new and soon gone."""
_SHARED = pytest.StashKey[str]()


def script() -> ModuleType:
    """scripts/local_elasticsearch.py, which is a program and in no package."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(SCRIPTS))
        return importlib.import_module("local_elasticsearch")


@contextmanager
def running(folder: Path, *, nodes: int = 1, heap: str = "512m") -> Iterator[Cluster]:
    """A cluster on free ports with its data in `folder`, ready; stopped at the end."""
    local = script()
    ports = local.free_ports(2 * nodes)
    pairs = list(zip(ports[::2], ports[1::2], strict=True))
    cluster = local.Cluster.of(folder, pairs, heap=heap, jvm=QUICK, ends_with="starter")
    try:
        cluster.start()
    except local.ElasticsearchError as problem:
        pytest.fail(str(problem), pytrace=False)
    try:
        yield cluster
    finally:
        cluster.stop()


@pytest.fixture(scope="session")
def elasticsearch_url(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> str:
    if given := os.environ.get(GIVEN):
        return given.rstrip("/")
    if _SHARED not in pytestconfig.stash:  # each conftest that imports this fixture has one of its own
        stack = ExitStack()
        cluster = stack.enter_context(running(tmp_path_factory.mktemp("elasticsearch")))
        pytestconfig.add_cleanup(stack.close)
        pytestconfig.stash[_SHARED] = cluster.url
    return pytestconfig.stash[_SHARED]


@pytest.fixture(scope="module")
def three_nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with running(tmp_path_factory.mktemp("three"), nodes=3, heap="400m") as cluster:
        yield cluster
