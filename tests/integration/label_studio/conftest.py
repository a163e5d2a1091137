from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest
from label_studio_server import LabelStudio, label_studio
from labelling import tasks_of

from rerankops.annotation.label_studio import Client, Connection, LabelStudioChannel
from rerankops.config import LabelStudioSettings, load

__all__ = ["label_studio"]


@pytest.fixture
def prefix() -> str:
    """A pipeline of the test's own on the shared server."""
    return f"t-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def batch() -> tuple[str, pa.Table]:
    batch_id = f"b{uuid.uuid4().hex[:12]}"
    return batch_id, tasks_of(batch_id)


@pytest.fixture
def settings(label_studio: LabelStudio, prefix: str) -> LabelStudioSettings:
    own: dict[str, Any] = {"url": label_studio.url, "title_prefix": prefix, "page_size": 5, "import_size": 7}
    own |= {"max_backoff": 0.2, "retries": 8}
    return load(environ={}, overrides={"label_studio": own}).label_studio


@pytest.fixture
def channel(label_studio: LabelStudio, settings: LabelStudioSettings) -> Callable[..., LabelStudioChannel]:
    """The channel, with settings or parts of it changed."""

    def channel(*, url: str | None = None, token: str | None = None, **changed: Any) -> LabelStudioChannel:
        parts = {name: changed.pop(name) for name in ("waiting", "now") if name in changed}
        own = LabelStudioSettings.model_validate(settings.model_dump() | changed)
        return LabelStudioChannel(Connection(url or label_studio.url, token or label_studio.token), own, 3, **parts)

    return channel


@pytest.fixture
def client(label_studio: LabelStudio, settings: LabelStudioSettings) -> Any:
    with Client(Connection(label_studio.url, label_studio.token), settings) as client:
        yield client
