"""Small real things of the query room."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from rerankops.config import QueryLogSettings, QuerySettings, load


@pytest.fixture(scope="session")
def query_settings() -> QuerySettings:
    return load(environ={}).queries


@pytest.fixture(scope="session")
def log_at() -> Callable[..., QueryLogSettings]:
    """Settings of a log: log_at(location, event_id="id", user="null", source="sql", page_size=2) maps fields, too."""

    def log_at(location: object, **changes: Any) -> QueryLogSettings:
        names = {"page_size", "slices", "lateness_hours"}
        section: dict[str, Any] = {name: changes.pop(name) for name in names & set(changes)}
        section |= {"source": changes.pop("kind", "files"), "location": str(location), "fields": changes}
        return load(environ={}, overrides={"query_log": section}).query_log

    return log_at
