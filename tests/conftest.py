"""What `make test` runs side by side: tests that share a server or a world stay in one process."""

from __future__ import annotations

from pathlib import Path

import pytest

TESTS = Path(__file__).parent


def group(path: Path) -> str:
    """A file of tests/e2e; else the folder below tests/unit or tests/integration, or tests/dags."""
    parts = path.relative_to(TESTS).parts
    return "/".join(parts[:2])


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The longest group first, so that the processes end at about the same time."""
    for item in items:
        item.add_marker(pytest.mark.xdist_group(group(item.path)))
    if hasattr(config, "workerinput"):  # one of several processes
        order = {"e2e": 0, "integration": 1, "unit": 2}
        items.sort(key=lambda item: order.get(item.path.relative_to(TESTS).parts[0], 3))
