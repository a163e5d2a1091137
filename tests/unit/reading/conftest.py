from __future__ import annotations

import pytest

from rerankops import config
from rerankops.config import ReadingSettings


@pytest.fixture(scope="session")
def settings() -> ReadingSettings:
    return config.load().reading
