"""Query logs on real servers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from elasticsearch_node import elasticsearch_url
from postgres_server import postgres

from rerankops.config import Settings, load

__all__ = ["elasticsearch_url", "postgres"]


@pytest.fixture(scope="session")
def log_settings() -> Callable[..., Settings]:
    """All settings, of a log: log_settings("sql", "events", fields={"event_id": "id"}, page_size=2)."""

    def log_settings(source: str, location: object, *, hosts: tuple[str, ...] = (), **changes: Any) -> Settings:
        patience = changes.pop("elasticsearch", {"retries": 2, "max_backoff": 0.2})
        section = {"source": source, "location": str(location), **changes}
        return load(environ={}, overrides={"query_log": section, "elasticsearch": {"hosts": list(hosts), **patience}})

    return log_settings
