"""Settings, clusters and versioned indexes for tests, each test under an alias of its own."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from elasticsearch import Elasticsearch

from rerankops.config import Settings, load
from rerankops.elastic import Cluster, Connection
from rerankops.retrieval.elasticsearch import VersionedIndex


def new_alias() -> str:
    return f"test-{uuid.uuid4().hex[:12]}"


def settings_of(hosts: str | list[str], alias: str = "none", **more: Any) -> Settings:
    """Retrieval on these servers: no replicas, short pauses. more: of the section elasticsearch, or `retrieval`, a
    section itself."""
    retrieval = {"backend": "elasticsearch", **more.pop("retrieval", {})}
    patience = {"retries": 3, "max_backoff": 0.05, "request_timeout": 60}
    own = {"hosts": [hosts] if isinstance(hosts, str) else hosts, "alias": alias, "replicas": 0, **patience, **more}
    return load(environ={}, overrides={"elasticsearch": own, "retrieval": retrieval})


def set_only(patch: pytest.MonkeyPatch, **settings: object) -> None:
    """These settings and no others in the environment, and no credentials."""
    for name in [name for name in os.environ if name.startswith(("RERANKOPS__", "RERANKOPS_CONFIG", "ELASTICSEARCH_"))]:
        patch.delenv(name)
    for name, value in settings.items():
        patch.setenv(f"RERANKOPS__{name}", str(value))


def cluster_of(settings: Settings, **login: str) -> Cluster:
    """login: the environment variables that hold credentials."""
    return Cluster(Connection.configured(settings.elasticsearch, login), settings.elasticsearch)


def version(cluster: Cluster, settings: Settings, name: str) -> VersionedIndex:
    return VersionedIndex(cluster, settings.elasticsearch, settings.retrieval, name)


def names(client: Elasticsearch, alias: str) -> list[str]:
    """Every index whose name begins with the alias, closed ones too."""
    return sorted(client.indices.get(index=f"{alias}*", expand_wildcards="all", features="aliases").body)


@contextmanager
def fresh_alias(url: str) -> Iterator[str]:
    """An alias whose indexes are deleted at the end."""
    alias = new_alias()
    yield alias
    with Elasticsearch(url, request_timeout=60) as client:
        for name in names(client, alias):
            client.indices.delete(index=name)
