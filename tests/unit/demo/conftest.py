"""The two worlds, built once a session: the small one for nearly everything, the full one for its counts."""

from __future__ import annotations

import pytest

from rerankops.demo.world import World, build


@pytest.fixture(scope="session")
def small() -> World:
    return build(11, "small")


@pytest.fixture(scope="session")
def full() -> World:
    return build(11, "full")
