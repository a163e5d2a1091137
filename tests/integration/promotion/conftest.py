"""Registries on a real MLflow: over SQLite, and on a tracking server with PostgreSQL and S3."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import registered_rankers
from postgres_server import postgres
from tracking_server import tracking_server

from rerankops.promotion.registry import Registry

__all__ = ["postgres", "tracking_server"]


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for one SQLite database: creating its tables takes seconds."""
    return tmp_path_factory.mktemp("mlflow with space")


@pytest.fixture
def open_registry(database: Path, request: pytest.FixtureRequest) -> Callable[[], Registry]:
    """Another process' view of the same registry, each time."""

    def open_registry() -> Registry:
        return Registry(
            f"sqlite:///{database}/registry/mlflow.db",
            request.node.name,
            "rerankops",
            database / "registry.lock",
            artifact_root=database / "artefacts",
        )

    return open_registry


@pytest.fixture
def registry(open_registry: Callable[[], Registry]) -> Registry:
    """A model of its own a test."""
    return open_registry()


@pytest.fixture(scope="session")
def ranker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Without a cross-encoder: small."""
    return registered_rankers.tuned_fusion(tmp_path_factory.mktemp("rankers") / "fusion")


@pytest.fixture(scope="session")
def cascade(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With a tiny cross-encoder that reads the first two candidates of a query."""
    return registered_rankers.with_cross_encoder(tmp_path_factory.mktemp("rankers") / "cascade")
