"""Small real things of the query room."""

from __future__ import annotations

import pytest

from rerankops.config import QuerySettings, load


@pytest.fixture(scope="session")
def query_settings() -> QuerySettings:
    return load(environ={}).queries
