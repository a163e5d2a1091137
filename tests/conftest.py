"""What `make test` runs side by side: tests that share a server or a world stay in one process."""

from __future__ import annotations

from typing import Any

import pytest

ORDER = {"e2e": 0, "integration": 1, "unit": 2}


def group(nodeid: str) -> tuple[str, ...]:
    """A file of tests/e2e; else the folder below tests/unit or tests/integration, or a file of tests/dags."""
    return tuple(nodeid.partition("::")[0].split("/")[1:3])


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Hands a whole group to a process, and the next one when that is nearly done."""
    from xdist.scheduler import LoadScopeScheduling

    class Groups(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return "/".join(group(nodeid))

    return Groups(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The longest groups first where there are several processes, so that they end at about the same time."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: ORDER.get(group(item.nodeid)[0], 3))
